"""Compares verdicts with labels, and builds the EvaluationResult document.

Version, EvaluationDetails and AggregatedEvaluationResults.Metrics have the keys of the schema in
Lookout for Vision's developer guide ("Viewing performance metrics", "Reviewing the evaluation
result"; awslabs' ``lookoutvision`` package reads them in ``metrics.py``). The rest is ours:
ConfusionMatrix and LabelEvaluationResults, named as in the summary file of Rekognition Custom
Labels, and ``Details``; the service keeps it apart when it writes the file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lfv.engine import metrics
from lfv.engine.pixel_head import class_shares
from lfv.engine.types import EvaluatedImage, TrainingImage
from lfv.formats.answers import anomaly_score
from lfv.formats.evaluation import Evaluation, Evaluator, Overlap, TypeMetrics, overlaps


@dataclass(frozen=True)
class Evaluated:
    """The verdict on an image by a model that was not trained on it."""

    image: EvaluatedImage
    #: Anomaly type to overlap; empty if the true pixels are unknown.
    overlaps: dict[str, Overlap] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        image: TrainingImage,
        probability: float,
        threshold: float,
        types: Sequence[str],
        classes: NDArray[np.uint8] | None,
        labels: NDArray[np.uint8] | None,
    ) -> Evaluated:
        """Compare a verdict with a label."""
        called = probability >= threshold
        areas: dict[str, float] = {}
        found: dict[str, Overlap] = {}
        if classes is not None:
            shares = class_shares(classes, len(types) + 1)
            areas = {n: s for n, s in zip(types, shares[1:], strict=True) if s > 0}
            if labels is not None:
                found = overlaps(types, labels, classes)
        confidence = probability if called else 1 - probability
        seen = EvaluatedImage(
            image.source_ref, image.is_anomalous, called, confidence, float(probability), areas
        )
        return cls(seen, found)


def evaluate(
    evaluated: Sequence[Evaluated],
    *,
    training_images: int,
    out_of_fold: bool,
    threshold: float,
) -> dict[str, Any]:
    """Build the EvaluationResult; the service adds ``ModelArn`` and ``EvaluationEndTimestamp``."""
    evaluator = Evaluator()
    for each in evaluated:
        image = each.image
        score = anomaly_score(image.is_anomalous, image.confidence)
        evaluator.add_verdict(image.is_anomalous_truth, image.is_anomalous, score)
        evaluator.add_overlaps(each.overlaps)
    found = evaluator.result()
    truth = np.array([e.image.is_anomalous_truth for e in evaluated], dtype=bool)
    probability = np.array([e.image.probability for e in evaluated])
    types = [one for one in found.types if one.images]
    return {
        "Version": 1,
        "EvaluationDetails": {
            "NumberOfTrainingImages": training_images,
            "NumberOfTestingImages": len(evaluated),
            "Labels": ["normal", "anomaly", *(one.name for one in types)],
        },
        "AggregatedEvaluationResults": {
            "Metrics": found.to_metrics(),
            "ConfusionMatrix": _matrix(found),
        },
        "LabelEvaluationResults": [_label(one) for one in types],
        "Details": {
            "Source": "out-of-fold" if out_of_fold else "test dataset",
            "Threshold": threshold,
            "BrierScore": metrics.brier(truth, probability),
            "ExpectedCalibrationError": metrics.expected_calibration_error(truth, probability),
            **({} if found.roc_auc is None else {"AUROC": found.roc_auc}),
        },
    }


def _matrix(found: Evaluation) -> list[dict[str, Any]]:
    positives = max(1, found.true_positives + found.false_negatives)
    negatives = max(1, found.true_negatives + found.false_positives)
    rows = (
        ("anomaly", "anomaly", found.true_positives / positives),
        ("anomaly", "normal", found.false_negatives / positives),
        ("normal", "anomaly", found.false_positives / negatives),
        ("normal", "normal", found.true_negatives / negatives),
    )
    return [
        {"GroundTruthLabel": truth, "PredictedLabel": verdict, "Value": share}
        for truth, verdict, share in rows
    ]


def _label(found: TypeMetrics) -> dict[str, Any]:
    """Return F1 of the presence of a type per image, and IoU over the pixels of all images."""
    return {
        "Label": found.name,
        "NumberOfTestingImages": found.images,
        "Metrics": {
            "F1Score": found.f1,
            "Precision": found.precision,
            "Recall": found.recall,
            "IoU": found.pixel_iou,
        },
    }
