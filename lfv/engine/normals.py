"""Learning from normal images alone.

How far the farthest positions are from what is usual there, and from the nearest normal image; and,
with the pretrained backbone, how unusual the image is as a whole, and how far its farthest patches
are from the nearest normal ones anywhere and from the usual ones in the same place. Each is counted
in deviations of the same of normal images that it had not seen. The score is their weighted sum,
not drawn together far out: a defect that is extreme in one respect is one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import t as student

from lfv.engine.calibration import Calibration
from lfv.engine.ensemble import BACKBONE, Ensemble
from lfv.engine.experts import (
    PATCHES,
    PLACES,
    UNUSUAL,
    Expert,
    Experts,
    passing,
    positional_values,
)
from lfv.engine.grouping import Groups
from lfv.engine.learners import fit_unusual, squash
from lfv.engine.metrics import Floats
from lfv.engine.observations import OVERVIEW, Observation, all_maps, statistics
from lfv.engine.patches import fit_patches
from lfv.engine.positional import SUMS, fit_positional

FOLDS = 15
"""The more, the less do images seem unusual only because fewer others were learned from."""
SHARES = {UNUSUAL: 0.5, PATCHES: 0.15, PLACES: 0.2}
"""Shares of the score that experts on the backbone's maps have."""
FALSE_ALARMS = 0.02
"""Share of normal images that are called anomalous, unless the user states another."""
_LEAST_ABOVE = 2
"""Images expected above the limit, from which on it is counted."""
_STEP = 1.5
"""Deviations that the score rises by while the odds, as confidence has them, rise e times."""
_REACH = 100.0
"""Deviations up to which the score is about linear in an expert's."""


def fit_normals(
    observations: Sequence[Observation], folds: Groups, *, backbone: bool = False
) -> tuple[Ensemble, Floats]:
    """The model, and the out-of-fold score of every normal image (0 typical, 1 one deviation)."""
    kinds = (*SUMS, *SHARES) if backbone else SUMS
    raw = np.zeros((len(observations), len(kinds)))
    for fold in np.unique(folds):
        inside = [o for o, f in zip(observations, folds, strict=True) if f != fold]
        outside = np.flatnonzero(folds == fold).tolist()
        known = [observations[i] for i in outside]
        found = positional_values(fit_positional(all_maps(inside)), known)
        raw[outside, : len(SUMS)] = found[:, -len(SUMS) :]
        if backbone:
            raw[outside, len(SUMS) :] = np.stack(_fit_deep(inside)(known), axis=1)
    centres = np.median(raw, axis=0)
    spreads = raw.std(axis=0, ddof=1) + 1e-6
    head = fit_positional(all_maps(observations))
    pairs = list(zip(centres.tolist(), spreads.tolist(), strict=True))
    experts = [
        Expert(kind, OVERVIEW, passing(kind, head.values, *pair))
        for kind, pair in zip(SUMS, pairs, strict=False)
    ]
    shares = [1 / len(SUMS)] * len(SUMS)
    scale = [(0.0, 1.0)] * len(SUMS)
    if backbone:
        experts += _fit_deep(observations)
        rest = 1 - sum(SHARES.values())
        shares = [share * rest for share in shares] + list(SHARES.values())
        scale += pairs[len(SUMS) :]
    ensemble = Ensemble(
        Experts(tuple(experts), head),
        tuple(centre for centre, _ in scale),
        tuple(spread * _REACH for _, spread in scale),
        tuple(share * _REACH for share in shares),
    )
    scores: Floats = squash((raw - centres) / spreads / _REACH) @ np.array(ensemble.weights)
    return ensemble, scores


def _fit_deep(observations: Sequence[Observation]) -> Experts:
    """The experts on the backbone's maps, in the order of ``SHARES``."""
    patches = [one.patches for one in observations if one.patches is not None]
    unusual = Expert(UNUSUAL, BACKBONE, fit_unusual(statistics(observations, BACKBONE)))
    memory, places = fit_patches(patches)
    return Experts((unusual, Expert(PATCHES, BACKBONE, memory), Expert(PLACES, BACKBONE, places)))


def alarm_calibration(
    scores: Floats, rate: float = FALSE_ALARMS, *, extrapolate: bool = True
) -> Calibration:
    """p = 0.5 where a share of ``rate`` of new normal images is expected to lie above.

    With many images that is the conformal rank: the score that so many of them lie above. A rank
    near the highest of few images says little (of 30, the highest is exceeded by 3.2 % of new
    images on average, and anything from 0 to 10 %), so there the limit is the quantile of Student's
    distribution with the mean and deviation of the scores, which are logarithms of distances. On
    nine draws of three sets that raised the share of the defects found from 0.50 to 0.58, with
    2 to 3 % of new normal images called anomalous.

    The result is a rank made smooth, not a probability: nothing can be known of how frequent or how
    visible defects are.

    Args:
        scores: Of normal images, by models that had not seen them.
        rate: Share of normal images that may be called anomalous.
        extrapolate: Whether the scores are distributed about normally, so that few are enough to
            guess how far the highest of many would reach; without it, the rank is all there is.
    """
    count = len(scores)
    limit = 1 / (count + 2)
    if is_counted(count, rate) or not extrapolate:
        rank = min(count, int(np.ceil((1 - rate) * (count + 1))))
        edge = float(np.sort(scores)[rank - 1]) + 1e-9
    else:
        reach = float(student.ppf(1 - rate, count - 1))
        edge = float(scores.mean() + reach * scores.std(ddof=1)) + 1e-9
    slope = 1 / (_STEP * float(scores.std()) + 1e-9)
    return Calibration(slope, -slope * edge, 1.0, 1.0, 0.0, limit)


def is_counted(count: int, rate: float) -> bool:
    """Whether so many normal images are enough to count a false-alarm rate, not extrapolate it."""
    return count * rate >= _LEAST_ABOVE


def images_to_count(rate: float) -> int:
    """Normal images that are enough for a false-alarm rate."""
    return int(np.ceil(_LEAST_ABOVE / rate))
