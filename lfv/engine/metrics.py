"""Figures of merit. Scores rise with anomaly; labels are boolean, true for anomalous."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lfv.formats.evaluation import roc_auc

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def auroc(truth: Bools, scores: Floats) -> float:
    """Return the area under the ROC curve, counting ties half; NaN with only one class."""
    found = roc_auc(truth, scores)
    return float("nan") if found is None else found


def roc_curve(truth: Bools, scores: Floats) -> tuple[Floats, Floats]:
    """Return (false positive rate, true positive rate), from (0, 0) to (1, 1)."""
    distinct, hits, misses = _cumulative(truth, scores)
    tpr = np.concatenate([[0.0], hits[distinct] / max(1, int(truth.sum()))])
    fpr = np.concatenate([[0.0], misses[distinct] / max(1, int((~truth).sum()))])
    return fpr, tpr


def precision_recall_curve(truth: Bools, scores: Floats) -> tuple[Floats, Floats]:
    """Return (recall, precision) at each distinct score, the highest first."""
    distinct, hits, misses = _cumulative(truth, scores)
    recall = hits[distinct] / max(1, int(truth.sum()))
    return recall, hits[distinct] / (hits[distinct] + misses[distinct])


def _cumulative(truth: Bools, scores: Floats) -> tuple[NDArray[np.int64], Floats, Floats]:
    order = np.argsort(-scores, kind="stable")
    labels, ordered = truth[order].astype(np.float64), scores[order]
    distinct = np.append(np.nonzero(np.diff(ordered))[0], len(ordered) - 1)
    return distinct, np.cumsum(labels), np.cumsum(1 - labels)


def brier(truth: Bools, probability: Floats) -> float:
    """Return the mean squared difference between probability and outcome (Brier 1950)."""
    return float(np.mean((probability - truth) ** 2))


def expected_calibration_error(truth: Bools, probability: Floats) -> float:
    """Return the mean gap between confidence and frequency over at most ten bins.

    The bins are equally filled (adaptive ECE), because with sixty images most bins of equal width
    contain no image or one.
    """
    order = np.argsort(probability, kind="stable")
    parts = np.array_split(order, min(10, max(1, len(order) // 5)))
    gaps = [abs(probability[p].mean() - truth[p].mean()) * len(p) for p in parts if len(p)]
    return float(np.sum(gaps) / len(order))
