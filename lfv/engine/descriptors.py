"""Pools feature maps of any size into a vector of fixed length per image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float32]

#: Values that are pooled at once; as many as fit in the processor's cache.
_AT_ONCE = 65536
#: Cells from which central quantiles are estimated.
_SAMPLE = 4096
GRID = 4
#: Grids of n x n regions that are searched for one that stands out.
CONTRASTS = (2, 4, 7)
#: Added to a deviation before contrasts are divided by it.
_LEAST_DEVIATION = 0.05


@dataclass(frozen=True)
class Description:
    """Two views of the same maps."""

    #: [9 * channels]: mean, deviation, skewness, log kurtosis, quantiles .01 .5 .99 .999, maximum
    #: of each channel over the image. Describes what there is, regardless of where.
    statistics: Matrix
    #: [GRID * GRID * channels + 8 * channels]: channel means on a grid, and their order statistics.
    #: Describes where it is, and whether one region stands out. For a deep backbone, only the
    #: latter, as [2 * len(CONTRASTS) * channels]: contrasts, then the same as multiples of each
    #: channel's deviation.
    regions: Matrix


def describe(features: Matrix, *, with_regions: bool = False) -> Description:
    """Pool one image's maps.

    Args:
        features: Float32 [channels, rows, columns].
        with_regions: Whether to describe regions too; they are empty otherwise.
    """
    regions = _regions(features) if with_regions else np.empty(0, np.float32)
    return Description(_statistics(features), regions)


def pool(taps: Sequence[Matrix]) -> Description:
    """Pool the maps of a deep backbone.

    Statistics are mean, maximum and deviation of every channel. Regions are contrasts: the highest
    mean over a region less the median of those over all regions, so that what is the same
    everywhere in an image does not matter; then the same as multiples of the channel's deviation.

    Args:
        taps: float32 [channels, rows, columns], with a different grid each.
    """
    values, contrasts, relative = [], [], []
    for maps in taps:
        flat = maps.reshape(len(maps), -1)
        step = max(1, _AT_ONCE // flat.shape[1])
        parts = [_moments(flat[start : start + step]) for start in range(0, len(flat), step)]
        moments = np.concatenate(parts, axis=1)
        values.append(moments.ravel())
        contrasts.append(_contrasts(maps))
        relative.append(contrasts[-1] / (moments[2] + _LEAST_DEVIATION))
    regions = np.concatenate([one.ravel() for one in (*contrasts, *relative)])
    return Description(np.concatenate(values), regions)


def _contrasts(maps: Matrix) -> Matrix:
    """Return [len(CONTRASTS), channels] how far one region stands out."""
    rows, columns = maps.shape[1:]
    lines = maps.reshape(-1, columns) @ _averaging(columns).T  # faster than one product a channel
    means = _averaging(rows) @ lines.reshape(len(maps), rows, -1)
    found = []
    top = left = 0
    for count in CONTRASTS:
        down, across = min(count, rows), min(count, columns)
        regions = means[:, top : top + down, left : left + across].reshape(len(maps), -1)
        ordered = np.sort(regions, axis=1)
        middle = ordered.shape[1] // 2
        median = (ordered[:, middle] + ordered[:, -middle - 1]) / 2
        found.append(ordered[:, -1] - median)
        top, left = top + down, left + across
    return np.stack(found)


@lru_cache(maxsize=64)
def _averaging(side: int) -> Matrix:
    """Return the matrix that averages a line over 2, 4 and 7 equal parts, [parts, side]."""
    lines = []
    for count in CONTRASTS:
        parts = min(count, side)
        which = np.arange(side) * parts // side
        member = np.arange(parts)[:, None] == which
        lines.append(member / member.sum(axis=1, keepdims=True))
    return np.concatenate(lines).astype(np.float32)


def _moments(flat: Matrix) -> Matrix:
    """Return mean, maximum and deviation of each row, [3, rows]."""
    mean = flat.mean(axis=1)
    centred = flat - mean[:, None]
    variance = np.einsum("ij,ij->i", centred, centred) / flat.shape[1]
    return np.stack([mean, flat.max(axis=1), np.sqrt(variance)])


def _statistics(features: Matrix) -> Matrix:
    flat = features.reshape(len(features), -1)
    count = flat.shape[1]
    mean = flat.mean(axis=1)
    centred = flat - mean[:, None]
    squares = centred * centred
    variance = squares.mean(axis=1)
    deviation = np.sqrt(variance)
    skewness = np.einsum("ij,ij->i", squares, centred) / count / (deviation**3 + 1e-9)
    kurtosis = np.einsum("ij,ij->i", squares, squares) / count / (variance**2 + 1e-12)
    sample = flat[:, :: max(1, count // _SAMPLE)]
    last = sample.shape[1] - 1
    low, middle, high = (round(last * q) for q in (0.01, 0.5, 0.99))
    ordered = np.sort(sample, axis=1)  # vectorised, and so faster than a partition
    rank = round((count - 1) * 0.999)
    if sample.shape[1] == count:
        highest = ordered[:, rank]
    else:
        highest = _at_rank(flat, rank, ordered[:, high])
    return np.concatenate(
        [
            mean,
            deviation,
            np.clip(skewness, -50, 50),
            np.log1p(np.minimum(kurtosis, 1e4)),
            ordered[:, low],
            ordered[:, middle],
            ordered[:, high],
            highest,
            flat.max(axis=1),
        ]
    ).astype(np.float32)


def _at_rank(flat: Matrix, rank: int, floor: Matrix) -> Matrix:
    """Return the value of each row that has ``rank`` values below it.

    Sorts only values above ``floor`` if these are enough.
    """
    wanted = flat.shape[1] - rank  # counted from the highest
    found = np.empty(len(flat), dtype=flat.dtype)
    for number, (row, above) in enumerate(zip(flat, flat > floor[:, None], strict=True)):
        few = row[above]
        if len(few) < wanted:
            few = row
        found[number] = np.partition(few, len(few) - wanted)[len(few) - wanted]
    return found


def _regions(features: Matrix) -> Matrix:
    channels, rows, columns = features.shape
    row_starts = np.linspace(0, rows, GRID + 1).astype(int)[:-1]
    column_starts = np.linspace(0, columns, GRID + 1).astype(int)[:-1]
    sums = np.add.reduceat(np.add.reduceat(features, row_starts, axis=1), column_starts, axis=2)
    cells = np.outer(
        np.diff(np.append(row_starts, rows)), np.diff(np.append(column_starts, columns))
    )
    means = (sums / cells).reshape(channels, -1)
    highest = np.maximum.reduceat(
        np.maximum.reduceat(features, row_starts, axis=1), column_starts, axis=2
    ).reshape(channels, -1)
    order, peaks = np.sort(means, axis=1), np.sort(highest, axis=1)
    half = GRID * GRID // 2
    return np.concatenate(
        [
            means.ravel(),
            order[:, [0, 1, -2, -1]].ravel(),
            means.std(axis=1),
            peaks[:, [0, half, -1]].ravel(),
        ]
    ).astype(np.float32)
