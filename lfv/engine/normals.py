"""Learning from normal images alone.

Two experts: how far the farthest positions are from what is usual there, and from the nearest
normal image, each counted in robust deviations of the same of normal images that it had not seen.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lfv.engine.calibration import Calibration
from lfv.engine.ensemble import Ensemble
from lfv.engine.experts import Expert, Experts, passing, positional_values
from lfv.engine.grouping import Groups
from lfv.engine.learners import squash
from lfv.engine.metrics import Floats
from lfv.engine.observations import OVERVIEW, Observation, all_maps
from lfv.engine.positional import SUMS, fit_positional

ALARM = 3.0
"""Robust standard deviations above the normal median at which an image is called anomalous."""


def fit_normals(observations: Sequence[Observation], folds: Groups) -> tuple[Ensemble, Floats]:
    """The model, and the out-of-fold score of every normal image (0 typical, 1 one deviation)."""
    raw = np.zeros((len(observations), len(SUMS)))
    for fold in np.unique(folds):
        inside = [e for e, f in zip(observations, folds, strict=True) if f != fold]
        outside = np.flatnonzero(folds == fold).tolist()
        head = fit_positional(all_maps(inside))
        found = positional_values(head, [observations[i] for i in outside])
        raw[outside] = found[:, -len(SUMS) :]
    centres = np.median(raw, axis=0)
    spreads = 1.4826 * np.median(np.abs(raw - centres), axis=0) + 1e-6
    head = fit_positional(all_maps(observations))
    experts = tuple(
        Expert(kind, OVERVIEW, passing(kind, head.values, float(centre), float(spread)))
        for kind, centre, spread in zip(SUMS, centres, spreads, strict=True)
    )
    count = len(experts)
    ensemble = Ensemble(
        Experts(experts, head), (0.0,) * count, (1.0,) * count, (1 / count,) * count
    )
    scores: Floats = squash((raw - centres) / spreads).mean(axis=1)
    return ensemble, scores


def alarm_calibration(count: int) -> Calibration:
    """p = 0.5 at ``ALARM`` deviations. A rank made smooth, not a probability: nothing can be
    known of how frequent or how visible defects are.
    """
    limit = 1 / (count + 2)
    edge = float(np.log1p(ALARM))
    slope = float(np.log((1 - limit) / limit)) / edge
    return Calibration(slope, -slope * edge, 1.0, 1.0, 0.0, limit)
