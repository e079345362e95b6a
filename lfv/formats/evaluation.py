"""Measures of a model's answers against the labels of a manifest.

The figures and their names come from Lookout for Vision's EvaluationResult file (developer guide,
"Viewing performance metrics" and "Reviewing the evaluation result", which prints the schema;
"Improving your model" defines AIOU as the average overlap of true and predicted masks). Anomalous
is the positive class. The guide leaves some cases open. Trainings and inspections use these rules:

- ROC AUC and average precision rank images by `anomaly_score`. Ties count half in the first, and
  as one threshold in the second. ROC AUC is None if one class is missing, average precision without
  anomalous images.
- Precision is None without anomalous answers, recall without anomalous images, F1 without either.
- Precision, recall and F1 of an anomaly type count images whose mask or answer contains the type.
  AIOU is the mean intersection over union of the two areas, over the same images.
- A normal image is background everywhere, whatever its mask. An anomalous image without a mask, or
  with an empty one, is left out of the figures about areas.

Images are added one by one. Memory holds only a few numbers for each image.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from lfv.formats.answers import DetectAnomalyResult, is_background
from lfv.formats.masks import TypeMap, read_mask


@dataclass(frozen=True)
class TypeMetrics:
    """Measures of one anomaly type. `pixel_iou` pools the areas of all images."""

    name: str
    images: int
    precision: float | None
    recall: float | None
    f1: float | None
    average_iou: float | None
    pixel_iou: float | None


@dataclass(frozen=True)
class Evaluation:
    """Counts of images, and measures from 0 to 1, None if undefined."""

    images: int
    true_positives: int
    false_positives: int
    true_negatives: int
    false_negatives: int
    precision: float | None
    recall: float | None
    f1: float | None
    roc_auc: float | None
    average_precision: float | None
    types: tuple[TypeMetrics, ...] = ()

    def to_evaluation_result(self, *, model_arn: str, ended_at: datetime) -> dict[str, Any]:
        """Return the content of Lookout for Vision's EvaluationResult file, ready for JSON.

        As in that file, only anomaly types of the true masks are listed. Undefined and unknown
        values are None.
        """
        return {
            "Version": 1,
            "EvaluationDetails": {
                "ModelArn": model_arn,
                "EvaluationEndTimestamp": _timestamp(ended_at),
                "NumberOfTrainingImages": None,
                "NumberOfTestingImages": self.images,
            },
            "AggregatedEvaluationResults": {"Metrics": self.to_metrics()},
        }

    def to_metrics(self) -> dict[str, Any]:
        """Return `Metrics` of the EvaluationResult, in the order of the guide."""
        metrics: dict[str, Any] = {
            "ROCAUC": self.roc_auc,
            "AveragePrecision": self.average_precision,
            "Precision": self.precision,
            "Recall": self.recall,
            "F1Score": self.f1,
        }
        types = [found for found in self.types if found.images]
        if types:
            metrics["PixelAnomalyClassMetrics"] = [
                {
                    "Precision": found.precision,
                    "Recall": found.recall,
                    "F1Score": found.f1,
                    "AIOU": found.average_iou,
                    "ClassName": found.name,
                }
                for found in types
            ]
        return metrics


@dataclass(frozen=True)
class Overlap:
    """Pixels of one anomaly type in an image: in the true mask, in the answer's, and in both."""

    in_truth: int
    in_answer: int
    in_both: int


def overlaps(types: Sequence[str], truth: TypeMap, answer: TypeMap) -> dict[str, Overlap]:
    """Return the overlap by anomaly type.

    `truth` and `answer` hold 1 + index in `types`, 0 for background.
    """
    size = len(types) + 1
    pairs = np.bincount(
        truth.ravel().astype(np.int64) * size + answer.ravel(), minlength=size * size
    ).reshape(size, size)
    return {
        name: Overlap(int(pairs[index].sum()), int(pairs[:, index].sum()), int(pairs[index, index]))
        for index, name in enumerate(types, 1)
    }


@dataclass
class _TypeCounts:
    true_positives: int = 0
    false_positives: int = 0
    false_negatives: int = 0
    ious: array[float] = field(default_factory=lambda: array("d"))
    intersection: int = 0
    union: int = 0


class Evaluator:
    """Collects labelled answers one by one and computes the measures at any time."""

    def __init__(self) -> None:
        self._scores = array("d")
        self._truths = array("b")
        self._answers = array("b")
        self._types: dict[str, _TypeCounts] = {}

    def add(self, truth: bool, result: DetectAnomalyResult) -> None:
        """Add the answer for an image; `truth` says whether the image is anomalous."""
        self.add_verdict(truth, result.is_anomalous, result.anomaly_score)

    def add_verdict(self, truth: bool, is_anomalous: bool, anomaly_score: float) -> None:
        """Add an answer like `add`, from its verdict and score alone."""
        self._truths.append(truth)
        self._answers.append(is_anomalous)
        self._scores.append(anomaly_score)

    def add_mask(
        self,
        truth_png: bytes | None,
        truth_colors: Mapping[str, str],
        result: DetectAnomalyResult,
        size: tuple[int, int],
    ) -> None:
        """Compare an image's mask with the answer's; `truth_png` is None for a normal image.

        An answer without a mask counts as an empty mask. `size` is the image's (width, height).
        Raises a subclass of ImageError for a mask that cannot be read.
        """
        answer_colors = {found.color.upper(): found.name for found in result.defects}
        named = {*truth_colors.values(), *answer_colors.values()}
        types = sorted(name for name in named if not is_background(name))
        truth: TypeMap = np.zeros((size[1], size[0]), dtype=np.uint8)
        if truth_png is not None:
            truth = read_mask(truth_png, truth_colors, types, size)
            if not truth.any():
                return
        if result.anomaly_mask is None:
            answer: TypeMap = np.zeros_like(truth)
        else:
            answer = read_mask(result.anomaly_mask, answer_colors, types, size)
        self.add_overlaps(overlaps(types, truth, answer))

    def add_overlaps(self, found: Mapping[str, Overlap]) -> None:
        """Add the overlaps of one image, by anomaly type."""
        for name, overlap in found.items():
            union = overlap.in_truth + overlap.in_answer - overlap.in_both
            if not union:
                continue
            counts = self._types.setdefault(name, _TypeCounts())
            counts.intersection += overlap.in_both
            counts.union += union
            counts.ious.append(overlap.in_both / union)
            counts.true_positives += bool(overlap.in_truth and overlap.in_answer)
            counts.false_positives += not overlap.in_truth
            counts.false_negatives += not overlap.in_answer

    def result(self) -> Evaluation:
        truths = np.frombuffer(self._truths, dtype=np.int8).astype(bool)
        answers = np.frombuffer(self._answers, dtype=np.int8).astype(bool)
        scores = np.frombuffer(self._scores, dtype=np.float64)
        hits = int((truths & answers).sum())
        false_alarms = int((~truths & answers).sum())
        misses = int((truths & ~answers).sum())
        precision, recall, f1 = _precision_recall_f1(hits, false_alarms, misses)
        return Evaluation(
            images=len(truths),
            true_positives=hits,
            false_positives=false_alarms,
            true_negatives=int((~truths & ~answers).sum()),
            false_negatives=misses,
            precision=precision,
            recall=recall,
            f1=f1,
            roc_auc=roc_auc(truths, scores),
            average_precision=average_precision(truths, scores),
            types=tuple(_type_metrics(name, self._types[name]) for name in sorted(self._types)),
        )


def roc_auc(truths: npt.NDArray[np.bool_], scores: npt.NDArray[np.float64]) -> float | None:
    """Return the probability that an anomalous image outranks a normal one; None for one class."""
    positives = int(truths.sum())
    negatives = len(truths) - positives
    if not positives or not negatives:
        return None
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2.0)[inverse]
    wins = float(ranks[truths].sum()) - positives * (positives + 1) / 2.0
    return wins / (positives * negatives)


def average_precision(
    truths: npt.NDArray[np.bool_], scores: npt.NDArray[np.float64]
) -> float | None:
    """Return the average of precision, weighted by each threshold's gain in recall.

    None without anomalous images.
    """
    positives = int(truths.sum())
    if not positives:
        return None
    order = np.argsort(-scores, kind="stable")
    ranked = truths[order]
    last_of_tie = np.append(np.diff(scores[order]) != 0, True)
    found = np.cumsum(ranked)[last_of_tie]
    precision = found / (np.flatnonzero(last_of_tie) + 1)
    return float((np.diff(found, prepend=0) * precision).sum() / positives)


def _precision_recall_f1(
    hits: int, false_alarms: int, misses: int
) -> tuple[float | None, float | None, float | None]:
    precision = hits / (hits + false_alarms) if hits + false_alarms else None
    recall = hits / (hits + misses) if hits + misses else None
    either = 2 * hits + false_alarms + misses
    return precision, recall, (2 * hits / either if either else None)


def _type_metrics(name: str, counts: _TypeCounts) -> TypeMetrics:
    precision, recall, f1 = _precision_recall_f1(
        counts.true_positives, counts.false_positives, counts.false_negatives
    )
    return TypeMetrics(
        name=name,
        images=counts.true_positives + counts.false_negatives,
        precision=precision,
        recall=recall,
        f1=f1,
        average_iou=sum(counts.ious) / len(counts.ious) if counts.ious else None,
        pixel_iou=counts.intersection / counts.union if counts.union else None,
    )


def _timestamp(at: datetime) -> str:
    if at.tzinfo is None:
        raise ValueError("a time without a time zone")
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")
