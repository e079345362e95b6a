"""Makes a model version from a detector and labelled images.

The detector itself is not trained. Its scores are calibrated to probabilities. If the masks show
one anomaly type, a threshold is chosen for its map. Both are evaluated out of fold.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from lfv.engine.custom_models.acceptance import Accepted, accept_detector
from lfv.engine.custom_models.detector import Detector, Reading, Scale, open_reader, paint
from lfv.engine.custom_models.exported_onnx import read_export
from lfv.engine.metrics import auroc
from lfv.engine.training.checks import (
    THUMBNAIL,
    border_of,
    check_variety,
    find_oddities,
    find_shortcut,
)
from lfv.engine.training.crossval import OUTER_FOLDS
from lfv.engine.training.dataset import Dataset, check_test, load, load_labels, read_training
from lfv.engine.training.evaluation import Evaluated, evaluate
from lfv.engine.training.findings import Findings
from lfv.engine.training.finish import calibrate, finish, judge_out_of_fold, judge_test
from lfv.engine.training.grouping import Groups, assign_folds, identity, near_duplicates, signature
from lfv.engine.types import Progress, TrainingImage, TrainingOptions, TrainingOutcome

#: AUROC below which a warning says that the detector hardly separates the classes.
POOR_AUROC = 0.7
#: Number of thresholds compared: quantiles of the map's values, densest at the highest.
LEVELS = 64


@dataclass(frozen=True)
class _Responses:
    """The detector's output for all images."""

    scores: NDArray[np.float64]
    maps: tuple[NDArray[np.float32] | None, ...]
    signatures: NDArray[np.float32]
    identities: NDArray[np.int64]
    borders: NDArray[np.float32]


def recalibrate(
    train: Sequence[TrainingImage],
    test: Sequence[TrainingImage],
    output: Path,
    path: Path,
    options: TrainingOptions,
    progress: Progress,
) -> TrainingOutcome:
    """Make a model of the detector at ``path``; see :func:`lfv.engine.train`.

    Raises:
        TrainingError: If the images cannot be used.
        OnnxRejected: If the detector cannot be used.
    """
    progress(0.0, "checking images")
    data, warnings = read_training(train)
    check_test(test, data.width, data.height)
    progress(0.05, "trying out the detector")
    accepted = accept_detector(read_export(path, options.onnx_bytes))
    with threadpool_limits(1), ThreadPoolExecutor(max(1, options.workers)) as executor:
        progress(0.1, "running the detector")
        seen = _run_detector(data, accepted, executor)
        repeats = near_duplicates(seen.signatures, seen.identities, data.truth)
        check_variety(repeats, data.truth)
        groups = repeats.groups
        folds = assign_folds(groups, data.truth, OUTER_FOLDS, np.random.default_rng(options.seed))
        warnings += find_oddities(data.images, repeats, seen.signatures)
        separation = auroc(data.truth, seen.scores) if data.truth.any() else 0.0
        warnings += find_shortcut(seen.borders, data.truth, folds, separation)
        progress(0.7, "calibrating")
        data, remark = _choose_anomaly_type(data, accepted)
        model, evaluated = _calibrate(data, seen, folds, accepted, options)
        warnings += _trust_warnings(data, seen)
        if test:
            evaluated = judge_test(
                model, test, executor, lambda s: progress(0.8 + 0.15 * s, "testing")
            )
    result = evaluate(
        evaluated,
        training_images=len(data.images),
        out_of_fold=not test,
        threshold=model.threshold,
    )
    result["Details"]["Detector"] = {"Sha256": accepted.sha256}
    findings = Findings(
        data=data,
        evaluated=evaluated,
        evaluation=result,
        out_of_fold=not test,
        threshold=model.threshold,
        trials=(),
        ensemble=None,
        views={},
        alignment_gain=1.0,
        aligned=False,
        warnings=tuple(warnings),
        remarks=(
            (
                f"The verdicts are those of the detector {accepted.sha256[:12]}, which "
                "was not trained here: its scores were calibrated on these images."
            ),
            remark,
        ),
    )
    return finish(output, model.to_contents(), findings, progress)


def _run_detector(data: Dataset, accepted: Accepted, executor: Executor) -> _Responses:
    read = open_reader(accepted.view, accepted.body)

    def look(image: TrainingImage) -> tuple[Reading, NDArray[np.uint8], np.int64]:
        pixels = load(image, accepted.view.size).pixels
        return read(pixels), load(image, THUMBNAIL).pixels, identity(pixels)

    rows = list(executor.map(look, data.images))
    return _Responses(
        np.array([reading.score for reading, _, _ in rows]),
        tuple(reading.map for reading, _, _ in rows),
        np.stack([signature(thumbnail) for _, thumbnail, _ in rows]),
        np.array([number for _, _, number in rows]),
        np.stack([border_of(thumbnail) for _, thumbnail, _ in rows]),
    )


def _choose_anomaly_type(data: Dataset, accepted: Accepted) -> tuple[Dataset, str]:
    """Return the dataset with the only anomaly type that the map can paint, and a remark.

    Without such a type, the dataset has none, and the remark says why.
    """
    shown: set[int] = set()
    for image in data.images:
        labels = load_labels(image, data.type_names, (data.width, data.height))
        shown |= set() if labels is None else set(np.unique(labels[labels > 0]).tolist())
    types = tuple(data.anomaly_types[number - 1] for number in sorted(shown))
    if not types:
        why = "The images carry no masks, so the model gives verdicts only."
    elif not accepted.view.outputs[1]:
        why = "The detector has no anomaly map, so the model gives verdicts only."
    elif len(types) > 1:
        why = (
            f"The masks show {len(types)} anomaly types, which a single anomaly map can't tell "
            "apart, so the model gives verdicts only."
        )
    else:
        why = f"Its anomaly map paints {types[0][0]!r}, from a level chosen by the masks."
        return replace(data, anomaly_types=types), why
    return replace(data, anomaly_types=()), why


def _calibrate(
    data: Dataset,
    seen: _Responses,
    folds: Groups,
    accepted: Accepted,
    options: TrainingOptions,
) -> tuple[Detector, list[Evaluated]]:
    """Return the model, and out-of-fold verdicts on the images it was calibrated on."""
    truth = data.truth
    normal = seen.scores[~truth]
    centre = float(np.median(normal))
    spread = 1.4826 * float(np.median(np.abs(normal - centre)))
    scale = Scale(centre, max(spread, 0.1 * float(seen.scores.std()), 1e-6))
    scores = scale(seen.scores)
    fit, probability, threshold = calibrate(truth, scores, folds, options, extrapolate=False)
    levels = _levels(data, seen, folds) if data.anomaly_types else None
    size = (data.width, data.height)
    classes = (
        None if levels is None or found is None else paint(found, levels[int(fold)], size)
        for found, fold in zip(seen.maps, folds, strict=True)
    )
    evaluated = judge_out_of_fold(data, classes, probability, threshold)
    model = Detector(
        width=data.width,
        height=data.height,
        anomaly_types=data.anomaly_types,
        background_color=data.background_color,
        sample_range=data.sample_range,
        view=accepted.view,
        onnx_model=accepted.body,
        scale=scale,
        calibration=fit,
        threshold=threshold,
        level=0.0 if levels is None else levels[_WHOLE],
    )
    return model, evaluated


_WHOLE = -1


def _levels(data: Dataset, seen: _Responses, folds: Groups) -> dict[int, float]:
    """Return the threshold with the highest IoU outside each fold; ``_WHOLE``: on all images."""
    maps = [found for found in seen.maps if found is not None]
    pool = np.concatenate([found.ravel()[:: 1 + found.size // 65_536] for found in maps])
    candidates = np.unique(np.quantile(pool, 1 - np.geomspace(1e-4, 0.9, LEVELS)))
    both = np.zeros((len(data.images), len(candidates)))
    either = np.zeros((len(data.images), len(candidates)))
    for number, (image, found) in enumerate(zip(data.images, maps, strict=True)):
        labels = load_labels(image, data.type_names, found.shape[::-1])
        if labels is None:
            continue
        inside = _at_least(found[labels > 0], candidates)
        both[number] = inside
        either[number] = _at_least(found[labels == 0], candidates) + (labels > 0).sum()

    def best(rows: NDArray[np.bool_]) -> float:
        overlap = both[rows].sum(axis=0) / np.maximum(either[rows].sum(axis=0), 1)
        return float(candidates[int(overlap.argmax())])

    every = np.ones(len(data.images), dtype=bool)
    return {_WHOLE: best(every)} | {int(fold): best(folds != fold) for fold in np.unique(folds)}


def _at_least(values: NDArray[np.float32], levels: NDArray[np.float64]) -> NDArray[np.int64]:
    """Count the values that reach each level."""
    counts: NDArray[np.int64] = len(values) - np.searchsorted(np.sort(values), levels)
    return counts


def _trust_warnings(data: Dataset, seen: _Responses) -> list[str]:
    """Return warnings about a detector that was trained elsewhere."""
    doubts = [
        (
            "The detector's training images are unknown. If it was trained on these images, the "
            "figures are too good; measure it on a test dataset that it has not seen."
        )
    ]
    truth = data.truth
    if truth.any():
        score = auroc(truth, seen.scores)
        if score < POOR_AUROC:
            doubts.append(
                f"The detector hardly tells normal from anomalous images here (AUROC {score:.2f})."
            )
    return doubts
