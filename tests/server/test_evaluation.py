"""The service's EvaluationResult: the schema of the developer guide, and the client's figures."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from lfv.engine.training.evaluation import Evaluated, evaluate
from lfv.engine.types import EvaluatedImage, TrainingImage
from lfv.formats.answers import Anomaly, DetectAnomalyResult
from lfv.formats.evaluation import Evaluator
from lfv.server.jobs.training_outputs import _document

TYPES = (("crack", "#FF0000"), ("dent", "#00FF00"), ("stain", "#0000FF"))
COLORS = {"#FFFFFF": "background", **{color: name for name, color in TYPES}}
SIZE = (12, 10)
ENDED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

Labels = NDArray[np.uint8]


def png(labels: Labels) -> bytes:
    """A mask: white, and each type in its colour."""
    palette = [(255, 255, 255), (255, 0, 0), (0, 255, 0), (0, 0, 255)]
    image = Image.fromarray(np.array(palette, dtype=np.uint8)[labels])
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def areas(chance: np.random.Generator, types: list[int]) -> Labels:
    """The type of each pixel: `background`, or one of `types` at random."""
    shape = (SIZE[1], SIZE[0])
    return chance.choice(np.array([0, 0, *types]), size=shape).astype(np.uint8)


def compared(truths: list[bool], scores: list[float], masks: list[tuple[Labels, Labels]]) -> Any:
    """The figures of a training and of an inspection of the same images."""
    evaluator = Evaluator()
    evaluated = []
    names = [name for name, _ in TYPES]
    for number, (truth, score, (true, said)) in enumerate(zip(truths, scores, masks, strict=True)):
        image = TrainingImage(f"s3://parts/{number}.png", Path(), truth)
        labels = true if true.any() or not truth else None  # as load_labels does
        one = Evaluated.of(image, score, 0.5, names, said, labels)
        evaluated.append(one)
        seen: EvaluatedImage = one.image
        found = [
            Anomaly(name, seen.areas[name], color) for name, color in TYPES if name in seen.areas
        ]
        result = DetectAnomalyResult(
            seen.is_anomalous,
            seen.confidence,
            (Anomaly("background", 0.5, "#FFFFFF"), *found),
            anomaly_mask=png(said),
        )
        evaluator.add(truth, result)
        evaluator.add_mask(png(true) if truth else None, COLORS, result, SIZE)
    trained = {
        "evaluation": evaluate(evaluated, training_images=7, out_of_fold=False, threshold=0.5)
    }
    service = _document(
        SimpleNamespace(arn="arn"),  # type: ignore[arg-type]
        trained,
        "2026-01-02T03:04:05.000000",
    )
    client = evaluator.result().to_evaluation_result(model_arn="arn", ended_at=ENDED)
    return service, client


@pytest.mark.parametrize("seed", range(5))
def test_service_and_client_give_the_same_figures(seed: int) -> None:
    chance = np.random.default_rng(seed)
    truths = [True, False, True, True, False, True]
    scores = [float(score) for score in chance.choice([0.1, 0.3, 0.6, 0.9], size=6)]
    masks = [
        (areas(chance, [1, 2] if truth else []), areas(chance, [1, 3] if score > 0.5 else []))
        for truth, score in zip(truths, scores, strict=True)
    ]
    service, client = compared(truths, scores, masks)
    known_to_the_service = {"NumberOfTrainingImages": 7}
    assert service["EvaluationDetails"] == client["EvaluationDetails"] | known_to_the_service
    expected = client["AggregatedEvaluationResults"]["Metrics"]
    found = service["AggregatedEvaluationResults"]["Metrics"]
    assert list(found) == list(expected)
    ours, theirs = (metrics.pop("PixelAnomalyClassMetrics") for metrics in (found, expected))
    assert found == expected
    assert [one["ClassName"] for one in ours] == ["crack", "dent"]
    for one, other in zip(ours, theirs, strict=True):
        assert list(one) == list(other)
        assert one == other


def test_fields_that_the_original_lacks_are_under_details() -> None:
    nothing = np.zeros((SIZE[1], SIZE[0]), dtype=np.uint8)
    service, client = compared([True, False], [0.9, 0.1], [(nothing, nothing)] * 2)
    assert list(service) == [*client, "Details"]
    assert service["AggregatedEvaluationResults"] == client["AggregatedEvaluationResults"]
    assert {"ConfusionMatrix", "LabelEvaluationResults", "Threshold"} <= set(service["Details"])


@pytest.mark.parametrize(
    ("truths", "scores"), [([False, False], [0.1, 0.2]), ([True, True], [0.1, 0.2])]
)
def test_undefined_figures_are_null_in_both(truths: list[bool], scores: list[float]) -> None:
    nothing = np.zeros((SIZE[1], SIZE[0]), dtype=np.uint8)
    service, client = compared(truths, scores, [(nothing, nothing)] * 2)
    metrics = service["AggregatedEvaluationResults"]["Metrics"]
    assert metrics == client["AggregatedEvaluationResults"]["Metrics"]
    assert metrics["Precision"] is None
    assert metrics["ROCAUC"] is None
