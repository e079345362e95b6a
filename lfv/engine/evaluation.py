"""Verdicts against labels, and the EvaluationResult document.

Version, EvaluationDetails and AggregatedEvaluationResults.Metrics have the keys of the schema in
Lookout for Vision's developer guide ("Viewing performance metrics", "Reviewing the evaluation
result"; awslabs' ``lookoutvision`` package reads them in ``metrics.py``).  The rest is ours:
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
from lfv.engine.metrics import Confusion
from lfv.engine.pixel_head import class_shares
from lfv.engine.types import EvaluatedImage, TrainingImage


@dataclass(frozen=True)
class Overlap:
    """Pixels of one anomaly type in one image."""

    intersection: int
    union: int
    in_truth: bool
    in_verdict: bool


@dataclass(frozen=True)
class Evaluated:
    """One image, judged by a model that has not seen it."""

    image: EvaluatedImage
    probability: float
    """Of anomaly."""
    overlaps: dict[str, Overlap] = field(default_factory=dict)
    """Anomaly type to overlap; empty where the true pixels are unknown."""

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
        """Compare one verdict with one label."""
        called = probability >= threshold
        areas: dict[str, float] = {}
        overlaps: dict[str, Overlap] = {}
        if classes is not None:
            shares = class_shares(classes, len(types) + 1)
            areas = {n: s for n, s in zip(types, shares[1:], strict=True) if s > 0}
            if labels is not None:
                for number, name in enumerate(types, 1):
                    truth, verdict = labels == number, classes == number
                    both, either = metrics.intersection_over_union(truth, verdict)
                    overlaps[name] = Overlap(both, either, bool(truth.any()), bool(verdict.any()))
        confidence = probability if called else 1 - probability
        seen = EvaluatedImage(image.source_ref, image.is_anomalous, called, confidence, areas)
        return cls(seen, probability, overlaps)


def evaluate(
    evaluated: Sequence[Evaluated],
    anomaly_types: Sequence[tuple[str, str]],
    *,
    training_images: int,
    out_of_fold: bool,
    threshold: float,
) -> dict[str, Any]:
    """The EvaluationResult; the service adds ``ModelArn`` and ``EvaluationEndTimestamp``."""
    truth = np.array([e.image.is_anomalous_truth for e in evaluated], dtype=bool)
    called = np.array([e.image.is_anomalous for e in evaluated], dtype=bool)
    probability = np.array([e.probability for e in evaluated])
    counts = metrics.confusion(truth, called)
    labels = _per_type(evaluated, [name for name, _ in anomaly_types])
    pixels = [_pixel_metrics(evaluated, label["Label"]) for label in labels]
    details: dict[str, Any] = {
        "Source": "out-of-fold" if out_of_fold else "test dataset",
        "Threshold": threshold,
        "BrierScore": metrics.brier(truth, probability),
        "ExpectedCalibrationError": metrics.expected_calibration_error(truth, probability),
    }
    if truth.any() and not truth.all():
        details["AUROC"] = metrics.auroc(truth, probability)
        details["AveragePrecision"] = metrics.average_precision(truth, probability)
    return {
        "Version": 1,
        "EvaluationDetails": {
            "NumberOfTrainingImages": training_images,
            "NumberOfTestingImages": len(evaluated),
            "Labels": ["normal", "anomaly", *(label["Label"] for label in labels)],
        },
        "AggregatedEvaluationResults": {
            "Metrics": {
                "F1Score": counts.f1,
                "Precision": counts.precision,
                "Recall": counts.recall,
                **({"PixelAnomalyClassMetrics": pixels} if pixels else {}),
            },
            "ConfusionMatrix": _matrix(counts),
        },
        "LabelEvaluationResults": labels,
        "Details": details,
    }


def _matrix(counts: Confusion) -> list[dict[str, Any]]:
    positives = max(1, counts.true_positives + counts.false_negatives)
    negatives = max(1, counts.true_negatives + counts.false_positives)
    rows = (
        ("anomaly", "anomaly", counts.true_positives / positives),
        ("anomaly", "normal", counts.false_negatives / positives),
        ("normal", "anomaly", counts.false_positives / negatives),
        ("normal", "normal", counts.true_negatives / negatives),
    )
    return [
        {"GroundTruthLabel": truth, "PredictedLabel": verdict, "Value": share}
        for truth, verdict, share in rows
    ]


def _per_type(evaluated: Sequence[Evaluated], types: Sequence[str]) -> list[dict[str, Any]]:
    """F1 of "this type is in this image", and IoU over the pixels of all images together."""
    results = []
    for name in types:
        overlaps = [e.overlaps[name] for e in evaluated if name in e.overlaps]
        if not any(overlap.in_truth for overlap in overlaps):
            continue
        truth = np.array([o.in_truth for o in overlaps])
        verdict = np.array([o.in_verdict for o in overlaps])
        counts = metrics.confusion(truth, verdict)
        union = sum(o.union for o in overlaps)
        shared = sum(o.intersection for o in overlaps)
        results.append(
            {
                "Label": name,
                "NumberOfTestingImages": int(truth.sum()),
                "Metrics": {
                    "F1Score": counts.f1,
                    "Precision": counts.precision,
                    "Recall": counts.recall,
                    "IoU": shared / union if union else 0.0,
                },
            }
        )
    return results


def _pixel_metrics(evaluated: Sequence[Evaluated], name: str) -> dict[str, Any]:
    """A type that is in some true mask, as the original has it.

    Precision, recall and F1 count images, and precision is None where no image was said to have
    the type.  AIOU is the guide's "average percentage overlap" ("Average Intersection over Union"):
    the mean over the images that have the type in truth or verdict.
    """
    overlaps = [e.overlaps[name] for e in evaluated if name in e.overlaps]
    truth = np.array([o.in_truth for o in overlaps])
    verdict = np.array([o.in_verdict for o in overlaps])
    counts = metrics.confusion(truth, verdict)
    return {
        "Precision": counts.precision if verdict.any() else None,
        "Recall": counts.recall,
        "F1Score": counts.f1,
        "AIOU": float(np.mean([o.intersection / o.union for o in overlaps if o.union])),
        "ClassName": name,
    }
