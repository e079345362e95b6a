"""Pools feature maps of any size into a vector of fixed length per image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float32]

#: Cells from which central quantiles are estimated.
_SAMPLE = 4096
GRID = 4


@dataclass(frozen=True)
class Description:
    """Two views of the same maps."""

    #: [9 * channels]: mean, deviation, skewness, log kurtosis, quantiles .01 .5 .99 .999, maximum
    #: of each channel over the image. Describes what there is, regardless of where.
    statistics: Matrix
    #: [GRID * GRID * channels + 8 * channels]: channel means on a grid, and their order statistics.
    #: Describes where it is, and whether one region stands out.
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
    """Pool the maps of a deep backbone: mean, maximum and deviation of every channel.

    Args:
        taps: float32 [channels, rows, columns], with a different grid each.
    """
    values = []
    for maps in taps:
        flat = maps.reshape(len(maps), -1)
        values += [flat.mean(axis=1), flat.max(axis=1), flat.std(axis=1)]
    return Description(np.concatenate(values), np.empty(0, np.float32))


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
