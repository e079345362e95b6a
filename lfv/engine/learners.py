"""Classifiers for many values and few images.

There are three different ones, because none suits every part: ridge regression uses all values a
little, the lasso selects the few that matter (a defect that shows in one channel only), and boosted
stumps use thresholds. All standardise robustly and clip, because otherwise one odd image would
change every weight.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lfv.engine.artifact import Arrays, StoredFields
from lfv.engine.metrics import Bools, Floats, auroc

Matrix = NDArray[np.float32]
#: Values are clipped at this many robust standard deviations.
CLIP = 3.0


@dataclass(frozen=True)
class LinearHead(StoredFields):
    """score = clip((x - centre) * gain, -3, 3) . weight + bias."""

    centre: Matrix
    gain: Matrix
    weight: Matrix
    bias: float

    def __call__(self, x: Matrix) -> Floats:
        """Map [images, values] to [images] scores."""
        z = np.clip((x - self.centre) * self.gain, -CLIP, CLIP)
        scores: Floats = (z @ self.weight + self.bias).astype(np.float64)
        return scores


@dataclass(frozen=True)
class StumpHead(StoredFields):
    """score = sum of votes, each +-weight by whether one value exceeds one limit."""

    column: NDArray[np.int32]
    limit: Matrix
    vote: Matrix

    def __call__(self, x: Matrix) -> Floats:
        """Map [images, values] to [images] scores."""
        votes = np.where(x[:, self.column] > self.limit, 1.0, -1.0)
        scores: Floats = votes @ self.vote.astype(np.float64)
        return scores


@dataclass(frozen=True)
class UnusualHead(StoredFields):
    """score = log of the squared Mahalanobis distance from normal images, per value.

    The covariance is that of the normal images along ``basis``, and constant along all other
    directions, of which there are many more than images.
    """

    HALVES = frozenset({"basis"})

    centre: Matrix
    gain: Matrix
    #: [values, directions]
    basis: Matrix
    #: [directions]
    precision: Matrix
    #: Precision along all other directions.
    rest: float

    def __call__(self, x: Matrix) -> Floats:
        """Map [images, values] to [images] scores."""
        z = _deviations(x, self.centre, self.gain).astype(np.float64)
        along = z @ self.basis.astype(np.float64)
        outside = np.maximum((z**2).sum(axis=1) - (along**2).sum(axis=1), 0)
        distance = along**2 @ self.precision.astype(np.float64) + self.rest * outside
        scores: Floats = np.log(distance / z.shape[1] + 1e-6)
        return scores


#: Deviations are clipped here.
UNUSUAL_CLIP = 5.0
#: Weight, in images, of the prior on a value's variance. On five sets the prior raised the AUROC of
#: the distance from 30 normal images from 0.853 to 0.869, and from 5 of them from 0.771 to 0.779.
_PRIOR_IMAGES = 50
#: Number of directions kept, those with the largest variance.
UNUSUAL_DIRECTIONS = 64
#: Lower bound of the variance along a direction, as a share of the mean variance.
_FLOOR = 0.2


def fit_unusual(x: Matrix, channels: Sequence[int] = ()) -> UnusualHead:
    """Learn from normal images, [images, values], how they differ from each other.

    Args:
        x: The values.
        channels: The numbers of channels of the maps from which ``x`` was pooled; empty if it was
            not. With few images, the variance of a channel within the images predicts the variance
            of a value better than its variance between the images.
    """
    centre = x.mean(axis=0)
    variance = x.var(axis=0)
    if channels:
        prior = _expected_variance(centre, variance, channels)
        variance = (len(x) * variance + _PRIOR_IMAGES * prior) / (len(x) + _PRIOR_IMAGES)
    gain = 1 / (np.sqrt(variance) + 1e-3)
    z = _deviations(x, centre, gain).astype(np.float64)
    _, values, vectors = np.linalg.svd(z, full_matrices=False)
    variances = values**2 / len(z)
    floor = max(_FLOOR * float(variances.mean()), 1e-9)
    kept = min(UNUSUAL_DIRECTIONS, len(variances))
    return UnusualHead(
        centre.astype(np.float32),
        gain.astype(np.float32),
        np.ascontiguousarray(vectors[:kept].T).astype(np.float32),
        (1 / (variances[:kept] + floor)).astype(np.float32),
        1 / floor,
    )


def _deviations(x: Matrix, centre: Matrix, gain: Matrix) -> Matrix:
    """Return [images, values] in units of their deviation between normal images, clipped."""
    clipped: Matrix = np.clip((x - centre) * gain, -UNUSUAL_CLIP, UNUSUAL_CLIP)
    return clipped


def _expected_variance(centre: Matrix, variance: Matrix, channels: Sequence[int]) -> Matrix:
    """Estimate [values] variance between images from each channel's deviation within them.

    The two are roughly proportional, with a separate factor for each map and kind of pooling.
    """
    expected = np.empty_like(variance)
    begin = 0
    for count in channels:  # mean, maximum and deviation, in the order of descriptors.pool
        within = centre[begin + 2 * count : begin + 3 * count] ** 2 + 1e-6
        for _ in range(3):
            part = slice(begin, begin + count)
            expected[part] = within * np.median(variance[part] / within)
            begin += count
    return expected


@dataclass(frozen=True)
class MatchedHead(StoredFields):
    """score = mean of the ``MATCHES`` highest responses of filters that are matched to changes."""

    HALVES = frozenset({"filters"})

    centre: Matrix
    gain: Matrix
    #: [values, filters]
    filters: Matrix

    def __call__(self, x: Matrix) -> Floats:
        """Map [images, values] to [images] scores."""
        z = _deviations(x, self.centre, self.gain)
        responses = np.sort(z @ self.filters, axis=1)
        scores: Floats = responses[:, -MATCHES:].mean(axis=1).astype(np.float64)
        return scores


@dataclass(frozen=True)
class DirectedHead(StoredFields):
    """score = log of the squared Mahalanobis distance along some directions alone, per value."""

    HALVES = frozenset({"directions"})

    centre: Matrix
    gain: Matrix
    #: [values, directions], scaled by the deviations of normal images along them.
    directions: Matrix

    def __call__(self, x: Matrix) -> Floats:
        """Map [images, values] to [images] scores."""
        z = _deviations(x, self.centre, self.gain)
        along = (z @ self.directions).astype(np.float64)
        scores: Floats = np.log((along**2).sum(axis=1) / x.shape[1] + 1e-6)
        return scores


#: Filters whose responses count. With 5 or 20 of 90 instead, the AUROC differed by 0.006 at most.
MATCHES = 10
#: Strength of the prior against directions, as a share of the mean squared size of a change.
_DIRECTION_PRIOR = 0.1


def fit_matched(usual: UnusualHead, changes: Matrix) -> MatchedHead:
    """Return a filter for each change, matched to it in the noise of normal images (North 1943).

    A filter responds with the deviations, as normal images vary, by which an image differs from the
    mean in the direction of its change.

    Args:
        usual: How normal images differ from each other.
        changes: [copies, values], what defects add to the values of normal images.
    """
    filters, gram = _filters(usual, changes)
    # A change that is smaller than what is usual says little about its direction.
    sizes = np.sqrt(np.maximum(np.diag(gram), 1))
    matched = np.ascontiguousarray((filters / sizes[:, None]).T).astype(np.float32)
    return MatchedHead(usual.centre, usual.gain, matched)


def fit_directed(usual: UnusualHead, changes: Matrix) -> DirectedHead:
    """Return the distance from normal images in the space of the changes.

    It is the log of the likelihood ratio between two Gaussians: that of the normal images, and that
    of normal images to which a random sum of the changes was added.

    Args:
        usual: How normal images differ from each other.
        changes: [copies, values], what defects add to the values of normal images.
    """
    filters, gram = _filters(usual, changes)
    prior = _DIRECTION_PRIOR * float(np.trace(gram)) / len(gram) + 1e-6
    lower = np.linalg.cholesky(gram + prior * np.eye(len(gram)))
    directions = np.linalg.solve(lower, filters).T
    return DirectedHead(
        usual.centre, usual.gain, np.ascontiguousarray(directions).astype(np.float32)
    )


def _filters(usual: UnusualHead, changes: Matrix) -> tuple[Floats, Floats]:
    """Return changes times the precision of normal images, and their products with changes."""
    z = np.clip(changes * usual.gain, -UNUSUAL_CLIP, UNUSUAL_CLIP).astype(np.float64)
    basis = usual.basis.astype(np.float64)
    filters = usual.rest * z + ((z @ basis) * (usual.precision - usual.rest)) @ basis.T
    return filters, filters @ z.T


Head = LinearHead | StumpHead | UnusualHead | MatchedHead | DirectedHead


def head_from_arrays(arrays: Arrays, prefix: str) -> Head:
    """Load the head that was stored under ``prefix``."""
    if f"{prefix}.column" in arrays:
        return StumpHead.from_arrays(arrays, prefix)
    if f"{prefix}.filters" in arrays:
        return MatchedHead.from_arrays(arrays, prefix)
    if f"{prefix}.directions" in arrays:
        return DirectedHead.from_arrays(arrays, prefix)
    kind = UnusualHead if f"{prefix}.basis" in arrays else LinearHead
    return kind.from_arrays(arrays, prefix)


def _standardise(x: Matrix) -> tuple[Matrix, Matrix, Floats]:
    centre = np.median(x, axis=0)
    mad = 1.4826 * np.median(np.abs(x - centre), axis=0)
    scale = np.maximum(mad, 0.1 * x.std(axis=0) + 1e-6)
    gain = (1 / scale).astype(np.float32)
    z = np.clip((x - centre) * gain, -CLIP, CLIP).astype(np.float64)
    return centre.astype(np.float32), gain, z


def fit_ridge(x: Matrix, truth: Bools, penalty: float) -> LinearHead:
    """Fit ridge regression on +-1 targets; ``penalty`` is relative to the mean variance."""
    centre, gain, z = _standardise(x)
    mean = z.mean(axis=0)
    z = z - mean
    kernel = z @ z.T
    target = np.where(truth, 1.0, -1.0)
    average = target.mean()
    strength = penalty * max(float(np.trace(kernel)) / len(z), 1e-9)
    dual = np.linalg.solve(kernel + strength * np.eye(len(z)), target - average)
    weight = z.T @ dual
    bias = float(average - mean @ weight)
    return LinearHead(centre, gain, weight.astype(np.float32), bias)


def fit_lasso(x: Matrix, truth: Bools) -> LinearHead:
    """Fit L1-penalised logistic regression by accelerated proximal gradient (FISTA, Beck 2009).

    The penalty is a fifth of the least one at which all weights are zero.
    """
    centre, gain, z = _standardise(x)
    mean, deviation = z.mean(axis=0), z.std(axis=0) + 1e-6
    z = (z - mean) / deviation
    target = np.where(truth, 1.0, -1.0)
    balance = np.where(truth, 0.5 / max(1, truth.sum()), 0.5 / max(1, (~truth).sum()))
    penalty = 0.2 * float(np.abs(z.T @ (target * balance)).max()) / 2
    largest = max(np.linalg.eigvalsh(z @ z.T)[-1] * balance.max() / 4, 1e-9)
    weight = np.zeros(z.shape[1])
    ahead, bias, momentum = weight.copy(), 0.0, 1.0
    for _ in range(200):
        margin = np.clip(target * (z @ ahead + bias), -30, 30)
        pull = -target * balance / (1 + np.exp(margin))
        bias -= 2 * float(pull.sum())
        moved = ahead - (z.T @ pull) / largest
        after = np.sign(moved) * np.maximum(np.abs(moved) - penalty / largest, 0)
        faster = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        ahead = after + (momentum - 1) / faster * (after - weight)
        weight, momentum = after, faster
    weight = weight / deviation
    return LinearHead(centre, gain, weight.astype(np.float32), float(bias - mean @ weight))


def fit_stumps(x: Matrix, truth: Bools, random: np.random.Generator) -> StumpHead:
    """Fit shrunk AdaBoost (Freund, Schapire 1997) over single values at nine quantiles; each round
    chooses among a random sixth of the values.
    """
    target = np.where(truth, 1.0, -1.0)
    limits = np.quantile(x, np.linspace(0.1, 0.9, 9), axis=0)
    margin = np.zeros(len(x))
    columns, chosen, votes = [], [], []
    take = min(x.shape[1], max(60, x.shape[1] // 6))
    for _ in range(80):
        weights = np.exp(-target * margin)
        weights *= target / weights.sum()
        subset = random.permutation(x.shape[1])[:take]
        above = x[None, :, subset] > limits[:, None, subset]
        edges = 2 * np.einsum("qnj,n->qj", above, weights) - weights.sum()
        level, which = np.unravel_index(int(np.abs(edges).argmax()), edges.shape)
        edge = float(np.clip(edges[level, which], -0.98, 0.98))
        vote = 0.15 * 0.5 * np.log((1 + edge) / (1 - edge))
        margin += vote * np.where(above[level, :, which], 1.0, -1.0)
        columns.append(subset[which])
        chosen.append(limits[level, subset[which]])
        votes.append(vote)
    return StumpHead(
        np.array(columns, dtype=np.int32),
        np.array(chosen, dtype=np.float32),
        np.array(votes, dtype=np.float32),
    )


def squash(z: Floats) -> Floats:
    """Compress scores, linear near zero and logarithmic far out, so that no expert dominates."""
    squashed: Floats = np.sign(z) * np.log1p(np.abs(z))
    return squashed


#: Strength, in images, with which experts' weights are pulled towards the prior ones.
PULL = 15.0
#: Sum of the prior weights.
PRIOR = 3.0
#: Difference in AUROC that changes an expert's prior weight by a factor of e. A smaller temperature
#: would favour experts that were lucky.
TEMPERATURE = 0.05
#: Prior shares of the blocks of experts if all have the same AUROC: experts on the engine's own
#: features, classifiers on pretrained features, and distances from the normal images. A block's
#: share grows with the odds of its AUROC.
BLOCK_SHARES = (1 / 7, 3 / 7, 3 / 7)
#: The blocks, in the order of ``BLOCK_SHARES``.
OWN, DEEP, DISTANCE = range(3)
#: Images of the rarer class up to which experts' AUROCs, mostly chance, are ignored, and from
#: which they count in full.
FEWEST, ENOUGH = 4, 8
#: AUROC above which the weight of a block of experts no longer grows.
_SUREST = 0.98


def fit_stack(scores: Floats, truth: Bools, blocks: NDArray[np.int64] | None = None) -> Floats:
    """Fit non-negative weights for combining experts' standardised out-of-fold scores.

    Minimises the logistic loss, pulled towards prior weights that follow from each expert's AUROC.
    The prior dominates with few images and fades with many. Unconstrained weights would change
    signs with few images.

    Args:
        scores: [images, experts].
        blocks: [experts] the block of each: ``OWN``, ``DEEP`` or ``DISTANCE``; all one if None.
    """
    trust = _trust(truth)
    pull = PULL / len(scores) / max(trust, 0.1)
    merits = np.array([auroc(truth, column) for column in scores.T])
    prior: Floats = np.exp(trust * (merits - merits.max()) / TEMPERATURE)
    if blocks is not None:
        for number in np.unique(blocks):
            inside = blocks == number
            share = _block_share(scores[:, inside] @ prior[inside], truth, int(number))
            prior[inside] *= share / prior[inside].sum()
    prior *= PRIOR / prior.sum()
    weight, bias = prior.copy(), 0.0
    target = np.where(truth, 1.0, -1.0)
    balance = np.where(truth, 0.5 / max(1, truth.sum()), 0.5 / max(1, (~truth).sum()))
    rate = 1.0 / (np.linalg.norm(scores, 2) ** 2 * balance.max() / 4 + pull + 1e-9)
    for _ in range(500):
        margin = np.clip(target * (scores @ weight + bias), -30, 30)
        slope = -target * balance / (1 + np.exp(margin))
        weight = np.maximum(0, weight - rate * (scores.T @ slope + pull * (weight - prior)))
        bias -= float(slope.sum())
    return weight if weight.sum() > 1e-6 else prior


def _block_share(scores: Floats, truth: Bools, block: int) -> float:
    """Return the unnormalised prior share of a block of experts from its combined ``scores``."""
    worth = min(max(auroc(truth, scores), 1 - _SUREST), _SUREST)
    return float(BLOCK_SHARES[block] * (worth / (1 - worth)) ** _trust(truth))


def _trust(truth: Bools) -> float:
    """Return the weight, 0 to 1, of AUROCs measured on these images."""
    rarer = min(int(truth.sum()), int((~truth).sum()))
    return min(1.0, max(0.0, (rarer - FEWEST) / (ENOUGH - FEWEST)))
