"""Measure the engine on a folder of sets, and write one table.

    SETS/NAME/normal/*.png    SETS/NAME/anomaly/*.png    SETS/NAME/masks/*.png (optional)

A mask has the name of its image, white where the defect is. ``COUNT`` images of each class are
drawn to train and as many others to test, once for each seed; every figure is the median.
Three protocols: labelled images, the normal ones of them alone, and five of each class; and, given
an interpreter that has anomalib, its PatchCore on the normal ones alone (engine_patchcore.py).
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from engine_patchcore import patchcore
from numpy.typing import NDArray

from lfv.engine import Predictor, TrainingImage, TrainingOptions, train
from lfv.engine.calibration import THRESHOLD
from lfv.engine.errors import TrainingError

SUFFIXES = {".png", ".jpg", ".jpeg"}
FEW = 5
COLUMNS = ("AUROC", "AP", "F1", "recall", "false alarms", "Brier", "ECE", "IoU", "told AUROC")
TIMES = ("train CPU s", "ms an image", "MB")


@dataclass(frozen=True)
class Protocol:
    """A random selection from a set."""

    name: str
    normal: int
    anomalous: int
    by_patchcore: bool = False


def read_set(folder: Path) -> tuple[list[TrainingImage], list[TrainingImage]]:
    """Normal and anomalous images of a set."""
    found: list[list[TrainingImage]] = []
    for kind in ("normal", "anomaly"):
        paths = sorted(p for p in (folder / kind).iterdir() if p.suffix.lower() in SUFFIXES)
        images = [TrainingImage(p.name, p, is_anomalous=kind == "anomaly") for p in paths]
        found.append([_with_mask(image, folder / "masks") for image in images])
    return found[0], found[1]


def _with_mask(image: TrainingImage, masks: Path) -> TrainingImage:
    path = masks / f"{image.path.stem}.png"
    if not image.is_anomalous or not path.is_file():
        return image
    return replace(image, mask_path=path, mask_colors={"#FFFFFF": "defect"})


def measure_sets(
    folder: Path,
    *,
    seeds: int,
    count: int,
    work: Path,
    only: Sequence[str],
    protocols: Sequence[str] = (),
    anomalib: Path | None = None,
    options: dict[str, Any],
) -> Iterator[dict[str, Any]]:
    """Yield one row for each set and protocol; ``anomalib`` is an interpreter that has it."""
    known = [
        Protocol(f"{count} + {count}", count, count),
        Protocol("normals only", count, 0),
        Protocol(f"{FEW} + {FEW}", FEW, FEW),
    ]
    if anomalib:
        known.append(Protocol("normals only, PatchCore", count, count, by_patchcore=True))
    for place in sorted(p for p in folder.iterdir() if (p / "normal").is_dir()):
        if only and place.name not in only:
            continue
        normal, anomalous = read_set(place)
        for protocol in known:
            if protocols and protocol.name not in protocols:
                continue
            runs = []
            for seed in range(seeds):
                training, new = _draw(normal, anomalous, protocol, count, seed)
                try:
                    if anomalib and protocol.by_patchcore:
                        runs.append(_run_patchcore(anomalib, training, new, seed))
                    else:
                        runs.append(_run(training, new, work / "model", options))
                except TrainingError as error:
                    yield {"set": place.name, "protocol": protocol.name, "error": str(error)}
                    break
            else:
                yield {
                    "set": place.name,
                    "protocol": protocol.name,
                    **{name: _median(run.get(name) for run in runs) for name in (*COLUMNS, *TIMES)},
                }


def _draw(
    normal: Sequence[TrainingImage],
    anomalous: Sequence[TrainingImage],
    protocol: Protocol,
    count: int,
    seed: int,
) -> tuple[list[TrainingImage], list[TrainingImage]]:
    """Images to train and to judge; those to judge are the same for every protocol."""
    random = np.random.default_rng(seed)
    known: list[TrainingImage] = []
    new: list[TrainingImage] = []
    for images, wanted in ((normal, protocol.normal), (anomalous, protocol.anomalous)):
        take = min(count, len(images) // 2)
        drawn = [images[i] for i in random.permutation(len(images))[: 2 * take]]
        known += drawn[: min(take, wanted)]
        new += drawn[take:]
    return known, new


def _run_patchcore(
    python: Path, known: Sequence[TrainingImage], new: Sequence[TrainingImage], seed: int
) -> dict[str, float | None]:
    normal = [image for image in known if not image.is_anomalous]
    masked = [image for image in known if image.mask_path is not None]
    probability, overlap = patchcore(python, normal, masked, new, seed)
    truth = np.array([image.is_anomalous for image in new])
    return {**_figures(truth, probability > THRESHOLD, probability), "IoU": overlap}


def _run(
    known: Sequence[TrainingImage],
    new: Sequence[TrainingImage],
    model: Path,
    options: dict[str, Any],
) -> dict[str, float | None]:
    began = time.process_time()
    outcome = train(known, new, model, options=TrainingOptions(**options))
    spent = time.process_time() - began
    result = outcome.evaluation
    labels = result["LabelEvaluationResults"]
    told = result["Details"].get("OutOfFoldAUROC")
    predictor, latencies = Predictor.load(model), []
    for image in new[:20]:
        body, began = image.path.read_bytes(), time.process_time()
        predictor.predict(body)
        latencies.append((time.process_time() - began) * 1000)
    truth = np.array([e.is_anomalous_truth for e in outcome.evaluated])
    called = np.array([e.is_anomalous for e in outcome.evaluated])
    sure = np.array([e.confidence for e in outcome.evaluated])
    probability = np.where(called, sure, 1 - sure)
    return {
        **_figures(truth, called, probability),
        "IoU": float(np.mean([x["Metrics"]["IoU"] for x in labels])) if labels else None,
        "told AUROC": told,
        "train CPU s": spent,
        "ms an image": statistics.median(latencies),
        "MB": sum(p.stat().st_size for p in model.iterdir() if p.is_file()) / 1e6,
    }


def _figures(
    truth: NDArray[np.bool_], called: NDArray[np.bool_], probability: NDArray[np.float64]
) -> dict[str, float | None]:
    right = int((called & truth).sum())
    return {
        "AUROC": _auroc(truth, probability),
        "AP": _average_precision(truth, probability),
        "F1": 2 * right / max(1, int(called.sum() + truth.sum())),
        "recall": right / int(truth.sum()),
        "false alarms": float(called[~truth].mean()),
        "Brier": float(((probability - truth) ** 2).mean()),
        "ECE": _calibration_error(truth, probability),
    }


def _median(values: Iterator[float | None]) -> float | None:
    found = [value for value in values if value is not None]
    return round(statistics.median(found), 3) if found else None


def _auroc(truth: NDArray[np.bool_], scores: NDArray[np.float64]) -> float:
    pairs = scores[truth][:, None] - scores[~truth][None]
    return float((pairs > 0).mean() + (pairs == 0).mean() / 2)


def _average_precision(truth: NDArray[np.bool_], scores: NDArray[np.float64]) -> float:
    ranked = truth[np.argsort(-scores, kind="stable")]
    precision = np.cumsum(ranked) / np.arange(1, len(ranked) + 1)
    return float(precision[ranked].mean())


def _calibration_error(truth: NDArray[np.bool_], probability: NDArray[np.float64]) -> float:
    """Over ten bins of equal width."""
    bins = np.minimum((probability * 10).astype(int), 9)
    return float(
        sum(
            (bins == b).mean() * abs(probability[bins == b].mean() - truth[bins == b].mean())
            for b in np.unique(bins)
        )
    )


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as a Markdown table."""
    names = ("set", "protocol", *COLUMNS, *TIMES)
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    for row in rows:
        cells = [row.get(name) for name in names]
        lines.append("| " + " | ".join("" if c is None else str(c) for c in cells) + " |")
    return "\n".join(lines) + "\n"
