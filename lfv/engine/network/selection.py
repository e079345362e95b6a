"""Decides whether verdicts and masks are better with the network.

Only out-of-fold outputs are used. For the figures, the decision for each fold is made on the other
folds; for the model, it is made on all folds.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lfv.engine.learners import CLIP, fit_stack
from lfv.engine.metrics import Bools, Floats, auroc
from lfv.engine.network.stored import MapShare, Stack, blend
from lfv.engine.training.backbone_trial import OVERLAP_GAIN, required_gain
from lfv.engine.training.grouping import Groups

Matrix = NDArray[np.float32]
#: Shares of the network in the maps that are tried.
SHARES: tuple[MapShare, ...] = (0.3, 0.5, 1.0)


def fit_scores(own: Floats, network: Floats, truth: Bools) -> Stack:
    """Fit weights that combine the network's scores with the engine's own.

    Args:
        own: [images] out-of-fold scores that rise with anomaly.
    """
    pairs = [(float(np.median(s)), float(s.std()) + 1e-9) for s in (own, network)]
    standard = [
        np.clip((s - c) / d, -CLIP, CLIP) for s, (c, d) in zip((own, network), pairs, strict=True)
    ]
    weights = fit_stack(np.stack(standard, axis=1), truth)
    (own_centre, own_spread), (centre, spread) = pairs
    share = float(weights[1] / weights.sum())
    return Stack(own_centre, own_spread, centre, spread, share)


def stack_out_of_fold(own: Floats, network: Floats, truth: Bools, folds: Groups) -> Floats:
    """Combine scores with the network's, by weights fitted to the other folds."""
    result = own.copy()
    for fold in np.unique(folds):
        out = folds == fold
        result[out] = fit_scores(own[~out], network[~out], truth[~out])(own[out], network[out])
    return result


def choose_scores(
    own: Floats, network: Floats, truth: Bools, folds: Groups
) -> tuple[Floats, Stack | None, tuple[float, float]]:
    """Return scores for evaluation, the model's stack if any, and AUROC without and with it."""
    chosen = own.copy()
    for fold in np.unique(folds):
        out = folds == fold
        rest = own[~out], network[~out], truth[~out]
        without, with_it = _areas(*rest, folds[~out])
        if with_it - without >= required_gain(without, truth[~out]):
            chosen[out] = fit_scores(*rest)(own[out], network[out])
    without, with_it = _areas(own, network, truth, folds)
    if with_it - without >= required_gain(without, truth):
        return chosen, fit_scores(own, network, truth), (without, with_it)
    return chosen, None, (without, with_it)


def _areas(own: Floats, network: Floats, truth: Bools, folds: Groups) -> tuple[float, float]:
    return auroc(truth, own), auroc(truth, stack_out_of_fold(own, network, truth, folds))


def choose_maps(
    own: Sequence[Matrix],
    network: Sequence[Matrix],
    labels: Sequence[NDArray[np.uint8] | None],
    folds: Groups,
) -> tuple[list[Matrix], MapShare, tuple[float, float]]:
    """Choose the network's share in the maps.

    Args:
        own: Out-of-fold logits of each image, [classes, rows, columns].
        network: The network's out-of-fold logits, on its own grid.
        labels: [rows, columns] on the network's grid; None if unknown.

    Returns:
        Logits for evaluation, the network's share in the model's maps, and the mean IoU of the
        anomaly types in the cells, without the network and with its best share.
    """
    shares: tuple[MapShare, ...] = (0.0, *SHARES)
    maps = {
        share: [blend(ours, other, share) for ours, other in zip(own, network, strict=True)]
        for share in shares
    }
    counts = {share: _counts(maps[share], labels) for share in shares}

    def choose(known: NDArray[np.bool_]) -> tuple[MapShare, tuple[float, float]]:
        means = {share: _mean(counts[share][known]) for share in shares}
        best = max(SHARES, key=means.__getitem__)
        taken = best if means[best] - means[0.0] >= OVERLAP_GAIN else 0.0
        return taken, (means[0.0], means[best])

    chosen: list[Matrix] = list(own)
    for fold in np.unique(folds):
        share, _ = choose(folds != fold)
        for i in np.flatnonzero(folds == fold).tolist() if share else ():
            chosen[i] = maps[share][i]
    return chosen, *choose(np.ones(len(own), dtype=bool))


def _counts(
    maps: Sequence[Matrix], labels: Sequence[NDArray[np.uint8] | None]
) -> NDArray[np.int64]:
    """Count the cells of intersection and union, [images, types, 2]."""
    result = np.zeros((len(maps), len(maps[0]) - 1, 2), dtype=np.int64)
    for counts, one, known in zip(result, maps, labels, strict=True):
        if known is None:
            continue
        verdict = one.argmax(axis=0)
        for number in range(1, len(one)):
            called, true = verdict == number, known == number
            counts[number - 1] = (called & true).sum(), (called | true).sum()
    return result


def _mean(counts: NDArray[np.int64]) -> float:
    both, either = counts.sum(axis=0).T
    return float((both / np.maximum(either, 1)).mean())
