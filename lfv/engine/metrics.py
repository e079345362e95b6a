"""Figures of merit.  Scores grow with anomaly; labels are boolean, true for anomalous."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Confusion:
    """Counts of verdicts against labels."""

    true_positives: int
    false_positives: int
    true_negatives: int
    false_negatives: int

    @property
    def precision(self) -> float:
        """Share of the images called anomalous that are; 0 when none was called so."""
        called = self.true_positives + self.false_positives
        return self.true_positives / called if called else 0.0

    @property
    def recall(self) -> float:
        """Share of the anomalous images that were found; 0 when there are none."""
        positives = self.true_positives + self.false_negatives
        return self.true_positives / positives if positives else 0.0

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        twice = 2 * self.true_positives
        total = twice + self.false_positives + self.false_negatives
        return twice / total if total else 0.0


def confusion(truth: Bools, called: Bools) -> Confusion:
    """Count the four outcomes."""
    return Confusion(
        int((truth & called).sum()),
        int((~truth & called).sum()),
        int((~truth & ~called).sum()),
        int((truth & ~called).sum()),
    )


def auroc(truth: Bools, scores: Floats) -> float:
    """Area under the ROC curve, ties counted half; NaN with only one class."""
    positives, negatives = int(truth.sum()), int((~truth).sum())
    if not positives or not negatives:
        return float("nan")
    order = np.argsort(scores, kind="stable")
    ranks = np.empty(len(scores))
    ranks[order] = np.arange(1, len(scores) + 1)
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    mean_rank = np.bincount(inverse, weights=ranks) / counts
    total = mean_rank[inverse][truth].sum()
    return float((total - positives * (positives + 1) / 2) / (positives * negatives))


def roc_curve(truth: Bools, scores: Floats) -> tuple[Floats, Floats]:
    """(false positive rate, true positive rate), from (0, 0) to (1, 1)."""
    distinct, hits, misses = _cumulative(truth, scores)
    tpr = np.concatenate([[0.0], hits[distinct] / max(1, int(truth.sum()))])
    fpr = np.concatenate([[0.0], misses[distinct] / max(1, int((~truth).sum()))])
    return fpr, tpr


def precision_recall_curve(truth: Bools, scores: Floats) -> tuple[Floats, Floats]:
    """(recall, precision) at each distinct score, highest score first."""
    distinct, hits, misses = _cumulative(truth, scores)
    recall = hits[distinct] / max(1, int(truth.sum()))
    return recall, hits[distinct] / (hits[distinct] + misses[distinct])


def _cumulative(truth: Bools, scores: Floats) -> tuple[NDArray[np.int64], Floats, Floats]:
    order = np.argsort(-scores, kind="stable")
    labels, ordered = truth[order].astype(np.float64), scores[order]
    distinct = np.append(np.nonzero(np.diff(ordered))[0], len(ordered) - 1)
    return distinct, np.cumsum(labels), np.cumsum(1 - labels)


def average_precision(truth: Bools, scores: Floats) -> float:
    """Area under the precision-recall curve as a step function."""
    recall, precision = precision_recall_curve(truth, scores)
    return float(np.sum(np.diff(np.concatenate([[0.0], recall])) * precision))


def brier(truth: Bools, probability: Floats) -> float:
    """Mean squared difference between probability and outcome (Brier 1950)."""
    return float(np.mean((probability - truth) ** 2))


def expected_calibration_error(truth: Bools, probability: Floats, bins: int = 10) -> float:
    """Mean gap between confidence and frequency over equally *filled* bins.

    Equal filling (adaptive ECE) rather than equal width: with sixty images most equal-width bins
    hold none or one.
    """
    order = np.argsort(probability, kind="stable")
    parts = np.array_split(order, min(bins, max(1, len(order) // 5)))
    gaps = [abs(probability[p].mean() - truth[p].mean()) * len(p) for p in parts if len(p)]
    return float(np.sum(gaps) / len(order))


def intersection_over_union(truth: Bools, called: Bools) -> tuple[int, int]:
    """(intersection, union) in pixels, so that images can be pooled before dividing."""
    return int((truth & called).sum()), int((truth | called).sum())
