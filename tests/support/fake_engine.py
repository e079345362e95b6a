"""A scripted engine that learns nothing, for tests of the service.

The script is an order in a PNG's text chunk ``order``, or in a training image's source-ref. Bright
images are anomalous.
"""

from __future__ import annotations

import io
import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from PIL import Image

from lfv.engine.seam import (
    ArtifactError,
    Engine,
    EvaluatedImage,
    ImageRejected,
    Progress,
    TrainingError,
    TrainingFindings,
    TrainingImage,
    TrainingOptions,
    TrainingOutcome,
)
from lfv.formats.answers import Anomaly, DetectAnomalyResult
from lfv.formats.evaluation import Evaluator

_FILE = "model.json"


def find_damaged(images: Sequence[TrainingImage]) -> dict[str, str]:
    damaged = {}
    for image in images:
        for path in filter(None, (image.path, image.mask_path)):
            try:
                with Image.open(path) as opened:
                    opened.load()
            except OSError as error:
                damaged[image.source_ref] = str(error)
    return damaged


def train(
    train: Sequence[TrainingImage],
    test: Sequence[TrainingImage],
    output: Path,
    *,
    options: TrainingOptions | None = None,
    progress: Progress,
) -> TrainingOutcome:
    refs = " ".join(image.source_ref for image in train)
    if "refuse" in refs:
        raise TrainingError("this was to be refused")
    if "crash" in refs:
        os._exit(7)
    with Image.open(train[0].path) as image:
        size = image.size
    progress(0.5, "half way")
    while "hold" in refs:
        time.sleep(0.05)
    begun = output.parent / "begun"
    while "interrupted" in refs and not begun.exists():
        (output.parent / "begun-once").touch()
        time.sleep(0.05)
    types = tuple({(name, color) for i in train for color, name in i.mask_colors.items()})
    output.mkdir(parents=True)
    given = {name: str(value) for name, value in asdict(options or TrainingOptions()).items()}
    (output / _FILE).write_text(
        json.dumps({"size": size, "types": types, "refs": refs[:100], "options": given})
    )
    evaluated = tuple(
        EvaluatedImage(
            i.source_ref,
            i.is_anomalous,
            i.is_anomalous,
            0.9,
            0.9 if i.is_anomalous else 0.1,
            {name: 0.25 for name, _ in types} if i.is_anomalous else {},
        )
        for i in test or train
    )
    evaluator = Evaluator()
    for seen in evaluated:
        evaluator.add_verdict(seen.is_anomalous_truth, seen.is_anomalous, float(seen.is_anomalous))
    found = evaluator.result()
    pixels = [
        {"Precision": 1.0, "Recall": 1.0, "F1Score": 1.0, "AIOU": 0.5, "ClassName": name}
        for name, _ in types
    ]
    evaluation = {
        "Version": 1,
        "EvaluationDetails": {
            "NumberOfTrainingImages": len(train),
            "NumberOfTestingImages": len(evaluated),
        },
        "AggregatedEvaluationResults": {
            "Metrics": found.to_metrics() | {"PixelAnomalyClassMetrics": pixels},
        },
        "Details": {"Source": "made up"},
    }
    anomalous = sum(i.is_anomalous for i in train)
    findings = TrainingFindings(
        normal=len(train) - anomalous,
        anomalous=anomalous,
        out_of_fold=not test,
        threshold=0.5,
    )
    figures = (1.0, 0.75, 0.5) if found.f1 is not None else (None, None, None)
    warnings = ("A warning.",)
    return TrainingOutcome(*size, types, *figures, evaluated, evaluation, warnings, findings)


class _Model:
    def __init__(self, document: dict[str, Any]) -> None:
        self.width, self.height = document["size"]
        self._types = document["types"]
        self.anomaly_types = tuple(tuple(pair) for pair in self._types)

    def predict(self, body: bytes, *, with_map: bool = False) -> DetectAnomalyResult:
        answer = self._answer(body)
        if not with_map:
            return answer
        heat = io.BytesIO()
        Image.new("L", (self.width, self.height), 200).save(heat, "PNG")
        return replace(answer, anomaly_map=heat.getvalue())

    def _answer(self, body: bytes) -> DetectAnomalyResult:
        try:
            with Image.open(io.BytesIO(body)) as image:
                image.load()
                order = str(image.info.get("order", ""))
                bright = image.convert("L").resize((1, 1)).getpixel((0, 0))
        except Exception as error:
            raise ImageRejected("not_an_image", "the image can't be decoded") from error
        _obey(order)
        assert isinstance(bright, int)
        is_anomalous = bright > 127
        if not self._types:
            return DetectAnomalyResult(is_anomalous, 0.75)
        found = [Anomaly("background", 0.75, "#FFFFFF")]
        found += [Anomaly(n, 0.25, c) for n, c in self._types if is_anomalous]
        mask = io.BytesIO()
        Image.new("RGB", (self.width, self.height), "white").save(mask, "PNG")
        return DetectAnomalyResult(is_anomalous, 0.75, tuple(found), mask.getvalue())

    def predict_pixels(self, pixels: bytes, width: int, height: int) -> DetectAnomalyResult:
        if (width, height) != (self.width, self.height):
            raise ImageRejected("image_dimensions_mismatch", f"the image is {width}x{height}")
        out = io.BytesIO()
        Image.frombytes("RGB", (width, height), pixels).save(out, "PNG")
        return self.predict(out.getvalue())


def load(artifact: Path, *, threads: int = 1) -> _Model:
    try:
        document = json.loads((artifact / _FILE).read_text())
    except (OSError, ValueError) as error:
        raise ArtifactError("the artifact is damaged") from error
    while "heldload" in document["refs"] and not (artifact.parents[2] / "may-load").exists():
        time.sleep(0.02)
    if "unloadable" in document["refs"]:
        raise ArtifactError("the artifact is of another version")
    return _Model(document)


def _obey(order: str) -> None:
    what, _, argument = order.partition(":")
    if what == "sleep":
        time.sleep(float(argument))
    elif what == "until":
        while not Path(argument).exists():
            time.sleep(0.02)
    elif what == "die":
        os._exit(9)
    elif what == "die-once":
        marker = Path(argument)
        if not marker.exists():
            marker.touch()
            os._exit(9)
    elif what == "hang":
        time.sleep(3600)
    elif what == "raise":
        raise RuntimeError("as ordered")
    elif what == "reject":
        raise ImageRejected("as_ordered", "as ordered")


class _Checked:
    """For mypy: this module is an engine."""

    find_damaged = staticmethod(find_damaged)
    train = staticmethod(train)
    load = staticmethod(load)


ENGINE: Engine = _Checked()
