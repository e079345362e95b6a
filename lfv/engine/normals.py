"""Learning from normal images alone.

With the pretrained backbone: how unusual the image is as a whole, and how far its farthest patches
are from the nearest normal ones anywhere and from the usual ones in the same place. Without it: how
far the farthest positions are from what is usual there, and from the nearest normal image. Each is
counted in deviations of the same of normal images that it had not seen. The score is the weighted
sum of their squares, signs kept: a defect that is extreme in one respect is one.
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
)
from lfv.engine.grouping import Groups
from lfv.engine.learners import fit_unusual
from lfv.engine.metrics import Floats
from lfv.engine.observations import OVERVIEW, Observation, all_maps, statistics
from lfv.engine.patches import fit_patches
from lfv.engine.positional import SUMS, fit_positional
from lfv.engine.pretrained.lite0 import CHANNELS

FOLDS = 15
"""The more, the less do images seem unusual only because fewer others were learned from."""
SHARES = {UNUSUAL: 0.6, PATCHES: 0.2, PLACES: 0.2}
"""Shares of the score that experts on the backbone's maps have."""
POWER = 2.0
"""Of the deviations that are summed: on 18 draws of six sets it raised the share of the defects
found from 0.53 to 0.58, with 2.6 instead of 1.9 % of new normal images called anomalous; the
AUROC stayed 0.91."""
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
    shares = SHARES if backbone else dict.fromkeys(SUMS, 1 / len(SUMS))
    fit = _fit_deep if backbone else _fit_positional
    raw = np.zeros((len(observations), len(shares)))
    for fold in np.unique(folds):
        inside = [o for o, f in zip(observations, folds, strict=True) if f != fold]
        outside = np.flatnonzero(folds == fold).tolist()
        raw[outside] = np.stack(fit(inside)([observations[i] for i in outside]), axis=1)
    spreads = (raw.std(axis=0, ddof=1) + 1e-6) * _REACH
    ensemble = Ensemble(
        fit(observations),
        tuple(np.median(raw, axis=0).tolist()),
        tuple(spreads.tolist()),
        tuple(share * _REACH**POWER for share in shares.values()),
        power=POWER,
    )
    members = [(expert.kind, expert.view) for expert in ensemble.experts]
    return ensemble, ensemble.combine(dict(zip(members, raw.T, strict=True)))


def _fit_positional(observations: Sequence[Observation]) -> Experts:
    """The experts on the engine's own maps, in the order of ``SUMS``."""
    head = fit_positional(all_maps(observations))
    experts = [Expert(kind, OVERVIEW, passing(kind, head.values, 0.0, 1.0)) for kind in SUMS]
    return Experts(tuple(experts), head)


def _fit_deep(observations: Sequence[Observation]) -> Experts:
    """The experts on the backbone's maps, in the order of ``SHARES``."""
    patches = [one.patches for one in observations if one.patches is not None]
    unusual = Expert(UNUSUAL, BACKBONE, fit_unusual(statistics(observations, BACKBONE), CHANNELS))
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
