"""Calibration of scores to probabilities, fitted on out-of-fold scores.

With few images or separable classes this is Platt's sigmoid with smoothed targets (Platt 1999),
otherwise beta calibration (Kull, Silva Filho, Flach 2017) on the logits of a first sigmoid.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lfv.engine.metrics import Bools, Floats

FEW_IMAGES = 30
#: Probability from which an image is called anomalous. With calibrated probabilities, 0.5 has as
#: good an F1 as any threshold found on so few images, and no verdict has a confidence below 0.5.
THRESHOLD = 0.5


@dataclass(frozen=True)
class Calibration:
    """p = sigmoid(a * log q - b * log(1 - q) + c) with q = sigmoid(slope * score + offset).

    ``limit`` keeps p within [limit, 1 - limit]: n images support no more than 1 / (n + 2).
    """

    slope: float
    offset: float
    a: float
    b: float
    c: float
    limit: float

    def __call__(self, scores: NDArray[np.floating] | float) -> Floats:
        """Probability of anomaly for each score."""
        z = self.slope * np.asarray(scores, dtype=np.float64) + self.offset
        if (self.a, self.b, self.c) != (1.0, 1.0, 0.0):
            log_q, log_1q = -np.logaddexp(0, -z), -np.logaddexp(0, z)
            z = self.a * log_q - self.b * log_1q + self.c
        p = 1 / (1 + np.exp(-np.clip(z, -50, 50)))
        clipped: Floats = np.clip(p, self.limit, 1 - self.limit)
        return clipped

    def to_json(self) -> dict[str, float]:
        """Return plain numbers."""
        return {k: float(getattr(self, k)) for k in ("slope", "offset", "a", "b", "c", "limit")}

    @classmethod
    def from_json(cls, value: dict[str, float]) -> Calibration:
        """Inverse of :meth:`to_json`."""
        return cls(**{k: float(value[k]) for k in ("slope", "offset", "a", "b", "c", "limit")})


def threshold_for(miss_cost: float) -> float:
    """Return the probability from which an image is called anomalous.

    ``miss_cost`` is the cost of a missed defect in false alarms.
    """
    return 1 / (1 + miss_cost)


def fit(truth: Bools, scores: Floats) -> Calibration:
    """Calibrate on out-of-fold ``scores`` that grow with anomaly."""
    limit = 1 / (len(truth) + 2)
    centre = float(np.median(scores))
    spread = float(np.std(scores)) or 1.0
    slope, offset = _platt(truth, (scores - centre) / spread)
    slope, offset = slope / spread, offset - slope * centre / spread
    platt = Calibration(slope, offset, 1.0, 1.0, 0.0, limit)
    separable = scores[truth].min() > scores[~truth].max()
    if len(truth) < FEW_IMAGES or separable:
        return platt
    a, b, c = _beta(truth, slope * scores + offset)
    return Calibration(slope, offset, a, b, c, limit)


def _platt(truth: Bools, x: Floats) -> tuple[float, float]:
    positives, negatives = int(truth.sum()), int((~truth).sum())
    target = np.where(truth, (positives + 1) / (positives + 2), 1 / (negatives + 2))

    def loss(w: Floats) -> tuple[float, Floats]:
        z = w[0] * x + w[1]
        p = 1 / (1 + np.exp(-np.clip(z, -50, 50)))
        value = np.sum(np.logaddexp(0, z) - target * z) + 1e-3 * w[0] ** 2
        slope = np.array([np.sum((p - target) * x) + 2e-3 * w[0], np.sum(p - target)])
        return float(value), slope

    from scipy.optimize import minimize  # only training needs it, and it takes long to import

    found = minimize(
        loss, np.array([1.0, 0.0]), jac=True, method="L-BFGS-B", bounds=[(1e-3, None), (None, None)]
    )
    return float(found.x[0]), float(found.x[1])


def _beta(truth: Bools, z: Floats) -> tuple[float, float, float]:
    log_q, log_1q = -np.logaddexp(0, -z), -np.logaddexp(0, z)
    design = np.stack([log_q, -log_1q, np.ones_like(z)], axis=1)
    pull = np.array([1.0, 1.0, 0.0])

    def loss(w: Floats) -> tuple[float, Floats]:
        y = design @ w
        p = 1 / (1 + np.exp(-np.clip(y, -50, 50)))
        value = np.sum(np.logaddexp(0, y) - truth * y) + 0.5 * np.sum((w - pull) ** 2)
        return float(value), design.T @ (p - truth) + (w - pull)

    from scipy.optimize import minimize

    found = minimize(
        loss, pull, jac=True, method="L-BFGS-B", bounds=[(0, None), (0, None), (None, None)]
    )
    return float(found.x[0]), float(found.x[1]), float(found.x[2])
