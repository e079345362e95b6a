"""Learning from normal images only.

With the pretrained backbone, the experts measure how far the image as a whole is from the normal
ones along what drawn defects change, how unusual the differences between its regions are, and how
much both are like what single drawn defects add to them.
Without it, they measure how far the farthest positions are from what is usual there, and from the
nearest normal image. Each value is expressed in deviations of held-out normal images. The score is
the weighted sum of signed powers of them, so that one extreme value is enough for a defect.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import stdtrit

from lfv.engine.calibration import Calibration
from lfv.engine.ensemble import BACKBONE, Ensemble
from lfv.engine.experts import (
    DIRECTED,
    MATCHED,
    MATCHED_CONTRAST,
    UNUSUAL_CONTRAST,
    Expert,
    Experts,
    absolute_contrasts,
    passthrough_head,
    values_of,
)
from lfv.engine.learners import Head, fit_directed, fit_matched, fit_unusual
from lfv.engine.metrics import Floats
from lfv.engine.observations import OVERVIEW, Observation, all_maps, statistics
from lfv.engine.positional import SUMS, fit_positional
from lfv.engine.pretrained.lite0 import CHANNELS
from lfv.engine.training.grouping import Groups
from lfv.formats.training_request import FALSE_ALARMS

#: Many, because with few folds, held-out images seem unusual merely for lack of training images.
FOLDS = 15
#: Shares of the experts on the backbone's maps in the score. The contrast of regions finds defects
#: on images that differ from each other as a whole, and misses small ones on regular patterns.
SHARES = {DIRECTED: 0.3, UNUSUAL_CONTRAST: 0.3, MATCHED_CONTRAST: 0.3, MATCHED: 0.1}
#: Exponent of the summed deviations. On 36 draws of six sets, exponents of 1, 1.25 and 1.5 found
#: 0.565, 0.580 and 0.584 of the defects, with 3.4, 3.9 and 4.0 % of new normal images called
#: anomalous, at an AUROC of 0.904.
POWER = 1.25
#: The same without the backbone.
_POWER_WITHOUT = 2.0
#: If at least this many images are expected above the limit, it is a rank, not extrapolated.
_LEAST_ABOVE = 2
#: Deviations of the score that change the odds of an anomaly by a factor of e.
_STEP = 1.5
#: Deviations up to which the score is roughly linear in an expert's.
_REACH = 100.0


def fit_normals(
    observations: Sequence[Observation], folds: Groups, *, backbone: bool = False
) -> tuple[Ensemble, Floats]:
    """Return the model, and normal images' out-of-fold scores (0 typical, 1 one deviation)."""
    shares = SHARES if backbone else dict.fromkeys(SUMS, 1 / len(SUMS))
    power = POWER if backbone else _POWER_WITHOUT
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
        tuple(share * _REACH**power for share in shares.values()),
        power=power,
    )
    members = [(expert.kind, expert.view) for expert in ensemble.experts]
    return ensemble, ensemble.combine(dict(zip(members, raw.T, strict=True)))


def _fit_positional(observations: Sequence[Observation]) -> Experts:
    """Return the experts on the engine's own maps, in the order of ``SUMS``."""
    head = fit_positional(all_maps(observations))
    experts = [Expert(kind, OVERVIEW, passthrough_head(kind, head.values)) for kind in SUMS]
    return Experts(tuple(experts), head)


def _fit_deep(observations: Sequence[Observation]) -> Experts:
    """Return the experts on the backbone's maps, in the order of ``SHARES``."""
    whole = statistics(observations, BACKBONE)
    contrasts = {
        kind: values_of(kind, BACKBONE, observations)
        for kind in (UNUSUAL_CONTRAST, MATCHED_CONTRAST)
    }
    changes = [one.changes for one in observations if one.changes is not None]
    drawn = np.concatenate([one.statistics for one in changes])
    regions = absolute_contrasts(np.concatenate([one.regions for one in changes]))
    usual = fit_unusual(whole, CHANNELS)
    heads: dict[str, Head] = {
        DIRECTED: fit_directed(usual, drawn),
        UNUSUAL_CONTRAST: fit_unusual(contrasts[UNUSUAL_CONTRAST]),
        MATCHED_CONTRAST: fit_matched(fit_unusual(contrasts[MATCHED_CONTRAST]), regions),
        MATCHED: fit_matched(usual, drawn),
    }
    return Experts(tuple(Expert(kind, BACKBONE, head) for kind, head in heads.items()))


def alarm_calibration(
    scores: Floats, rate: float = FALSE_ALARMS, *, extrapolate: bool = True
) -> Calibration:
    """Calibrate so that a share of ``rate`` of new normal images is expected above p = 0.5.

    With many images the limit is the conformal rank. With few, a rank near the highest says little
    (the highest of 30 is exceeded by 3.2 % of new images on average, and by anything from 0 to 10
    %). The limit is then the quantile of Student's distribution with the mean and deviation of the
    scores, which are logarithms of distances. On nine draws of three sets this raised the recall
    from 0.50 to 0.58, with 2 to 3 % of new normal images called anomalous.

    The result is a smoothed rank, not a probability, because nothing is known about how frequent or
    visible defects are.

    Args:
        scores: Out-of-fold scores of normal images.
        rate: Share of normal images that may be called anomalous.
        extrapolate: Whether the scores are roughly normally distributed, so that quantiles can be
            extrapolated from few images; otherwise the rank is used.
    """
    count = len(scores)
    limit = 1 / (count + 2)
    if is_enough_for_rank(count, rate) or not extrapolate:
        rank = min(count, int(np.ceil((1 - rate) * (count + 1))))
        edge = float(np.sort(scores)[rank - 1]) + 1e-9
    else:
        reach = float(stdtrit(count - 1, 1 - rate))
        edge = float(scores.mean() + reach * scores.std(ddof=1)) + 1e-9
    slope = 1 / (_STEP * float(scores.std()) + 1e-9)
    return Calibration(slope, -slope * edge, 1.0, 1.0, 0.0, limit)


def is_enough_for_rank(count: int, rate: float) -> bool:
    """Whether this many normal images are enough to set the limit by rank."""
    return count * rate >= _LEAST_ABOVE


def images_for_rank(rate: float) -> int:
    """Return the number of normal images that are enough to set the limit by rank."""
    return int(np.ceil(_LEAST_ABOVE / rate))
