"""The end of every training: calibrating, evaluating and writing the artifact."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lfv.engine import artifact
from lfv.engine.artifact import Contents
from lfv.engine.calibration import THRESHOLD, Calibration, fit, threshold_for
from lfv.engine.metrics import Bools, Floats
from lfv.engine.normals import alarm_calibration
from lfv.engine.trained_model import TrainedModel
from lfv.engine.training.crossval import cross_calibrate
from lfv.engine.training.dataset import Dataset, load, load_labels
from lfv.engine.training.evaluation import Evaluated
from lfv.engine.training.findings import Findings
from lfv.engine.training.grouping import Groups
from lfv.engine.types import Progress, TrainingImage, TrainingOptions, TrainingOutcome


def calibrate(
    truth: Bools,
    scores: Floats,
    folds: Groups,
    options: TrainingOptions,
    *,
    extrapolate: bool = True,
) -> tuple[Calibration, Floats, float]:
    """Return the calibration, out-of-fold probabilities, and the threshold of verdicts.

    For `extrapolate`, see :func:`~lfv.engine.normals.alarm_calibration`.
    """
    if truth.any():
        probability = cross_calibrate(truth, scores, folds)
        return fit(truth, scores), probability, threshold_for(options.miss_cost)
    calibration = alarm_calibration(scores, options.false_alarms, extrapolate=extrapolate)
    return calibration, calibration(scores), THRESHOLD


def judge_test(
    model: TrainedModel,
    test: Sequence[TrainingImage],
    executor: Executor,
    progress: Callable[[float], None],
) -> list[Evaluated]:
    """Return the model's verdicts on images that it was not trained on."""
    judge_image = model.open()
    types = tuple(name for name, _ in model.anomaly_types)

    def judge(image: TrainingImage) -> Evaluated:
        ranged = replace(image, sample_range=model.sample_range)

        def decode(size: tuple[int, int]) -> NDArray[np.uint8]:
            return load(ranged, size).pixels

        judgement = judge_image(decode)
        labels = None
        if types:
            labels = load_labels(image, types, (model.width, model.height))
        return Evaluated.of(
            image, judgement.probability, model.threshold, types, judgement.classes, labels
        )

    done = []
    for number, row in enumerate(executor.map(judge, test)):
        done.append(row)
        progress((number + 1) / len(test))
    return done


def judge_out_of_fold(
    data: Dataset,
    classes: Iterable[NDArray[np.uint8] | None],
    probability: Floats,
    threshold: float,
) -> list[Evaluated]:
    """Return out-of-fold verdicts on the training images.

    Args:
        classes: For each image the class of every pixel; None if the model paints none.
    """
    types, size = data.type_names, (data.width, data.height)
    rows = []
    for image, found, score in zip(data.images, classes, probability, strict=True):
        labels = None if found is None else load_labels(image, types, size)
        rows.append(Evaluated.of(image, float(score), threshold, types, found, labels))
    return rows


def finish(
    output: Path,
    contents: Contents,
    findings: Findings,
    progress: Progress,
) -> TrainingOutcome:
    """Write the artifact into ``output``, and return the outcome."""
    artifact.save(output, contents)
    progress(1.0, "done")
    data, result = findings.data, dict(findings.evaluation)
    metrics = result["AggregatedEvaluationResults"]["Metrics"]
    return TrainingOutcome(
        data.width,
        data.height,
        data.anomaly_types,
        metrics["F1Score"],
        metrics["Precision"],
        metrics["Recall"],
        tuple(e.image for e in findings.evaluated),
        result,
        tuple(findings.warnings),
        findings.values(),
    )
