"""Selects the regions of a pixel network's output that are reported as anomalies.

A region much smaller than all annotated ones is usually wrong. The limits are learned from
out-of-fold masks: per anomaly type, the least size of a region for the highest IoU, and a quarter
of the least area that the type had in any image. An image that is called anomalous keeps its
largest region, whatever its size. One that is called normal keeps none if that raises the IoU.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lfv.engine.metrics import Bools
from lfv.engine.training.grouping import Groups

Matrix = NDArray[np.float32]
Shares = NDArray[np.float16]
#: Least sizes to try, in cells.
SIZES = (0, 4, 8, 16, 32, 64, 128)
#: Gain in IoU required for leaving regions out.
GAIN = 0.003
#: A type's area is filtered out below this share of its least annotated area.
TRACE = 0.25
_NEVER = np.float32(-30)
_TOUCHING = np.ones((3, 3))


@dataclass(frozen=True)
class Regions:
    """The limits below which regions are filtered out, per anomaly type, in cells of the maps."""

    #: Least size of a region.
    least: tuple[float, ...]
    #: Least area of all regions of a type in an image.
    traces: tuple[float, ...]
    #: Whether an image that is called normal keeps regions.
    of_normal: bool = True

    def __call__(self, logits: Matrix, *, is_anomalous: bool) -> Matrix:
        """Return ``logits``, [classes, rows, columns], without the regions to leave out."""
        best = logits.argmax(axis=0)
        if not is_anomalous and not self.of_normal:
            silent = logits.copy()
            silent[1:] = _NEVER
            return silent
        out = np.zeros(logits.shape, dtype=bool)
        largest = (0, 0, best == -1)
        for number, (least, trace) in enumerate(zip(self.least, self.traces, strict=True), 1):
            if not (called := best == number).any():
                continue
            labels, _ = ndimage.label(called, _TOUCHING)
            sizes = np.bincount(labels.ravel())
            sizes[0] = 0
            kept = sizes >= least
            if sizes[kept].sum() < trace:
                kept[:] = False
            out[number] = called & ~kept[labels]
            most = int(sizes.argmax())
            if sizes[most] > largest[0]:
                largest = (int(sizes[most]), number, labels == most)
        if is_anomalous:
            out[largest[1]] &= ~largest[2]
        return np.where(out, _NEVER, logits) if out.any() else logits

    def to_json(self) -> dict[str, Any]:
        """Return plain numbers."""
        return {
            "least": list(self.least),
            "traces": list(self.traces),
            "of_normal": self.of_normal,
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Regions:
        """Inverse of :meth:`to_json`."""
        least, traces = (tuple(float(v) for v in value[name]) for name in ("least", "traces"))
        return cls(least, traces, bool(value.get("of_normal", True)))  # missing in models of 0.1.0


@dataclass(frozen=True)
class _Statistics:
    """The statistics of an image with known pixels."""

    #: [sizes, types, 2]: cells in both masks and in either, with smaller regions filtered out.
    overlaps: NDArray[np.int64]
    #: [sizes, types, 2]: the same with no region in an image that is called normal.
    silent: NDArray[np.int64]
    #: [types] annotated cells.
    areas: NDArray[np.int64]


def learn_regions(
    logits: Sequence[Matrix], shares: Sequence[Shares | None], called: Bools, folds: Groups
) -> tuple[Regions, tuple[Matrix, ...]]:
    """Fit the limits; also return the ``logits`` filtered by limits fitted to the other folds.

    Args:
        logits: Out-of-fold logits of every image, [classes, rows, columns].
        shares: Share of each cell that each class covers; None if unknown.
        called: [images] whether each is called anomalous.
    """
    types = len(logits[0]) - 1
    known = [
        None if one is None else _measure(maps, one, bool(is_anomalous))
        for maps, one, is_anomalous in zip(logits, shares, called, strict=True)
    ]
    by_fold = {
        fold: _learn([one for one, f in zip(known, folds, strict=True) if f != fold], types)
        for fold in np.unique(folds)
    }
    filtered = tuple(
        by_fold[fold](maps, is_anomalous=bool(is_anomalous))
        for maps, fold, is_anomalous in zip(logits, folds, called, strict=True)
    )
    return _learn(known, types), filtered


def _measure(maps: Matrix, shares: Shares, is_anomalous: bool) -> _Statistics:
    types = len(maps) - 1
    truth = shares.argmax(axis=0)
    overlaps = np.zeros((len(SIZES), types, 2), dtype=np.int64)
    for row, size in zip(overlaps, SIZES, strict=True):
        without = Regions((float(size),) * types, (0.0,) * types)
        verdict = without(maps, is_anomalous=is_anomalous).argmax(axis=0)
        for number in range(types):
            predicted, true = verdict == number + 1, truth == number + 1
            row[number] = (predicted & true).sum(), (predicted | true).sum()
    areas = np.bincount(truth.ravel(), minlength=types + 1)[1:]
    silent = overlaps if is_anomalous else np.broadcast_to(_empty_overlaps(areas), overlaps.shape)
    return _Statistics(overlaps, silent, areas)


def _empty_overlaps(areas: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return [types, 2], the overlaps of an answer without regions."""
    return np.stack([np.zeros_like(areas), areas], axis=1)


def _learn(known: Sequence[_Statistics | None], types: int) -> Regions:
    seen = [one for one in known if one is not None]
    if not seen:
        return Regions((0.0,) * types, (0.0,) * types)
    iou = _overlap([one.overlaps for one in seen])
    silent = _overlap([one.silent for one in seen])
    of_normal = not silent.max(axis=0).mean() > iou.max(axis=0).mean() + GAIN
    if not of_normal:
        iou = silent
    better = iou > iou[0] + GAIN
    least = np.where(better.any(axis=0), np.array(SIZES)[iou.argmax(axis=0)], 0)
    areas = np.stack([one.areas for one in seen]).astype(float)
    smallest = np.where(areas > 0, areas, np.inf).min(axis=0)
    traces = np.where(np.isfinite(smallest), TRACE * smallest, 0)
    return Regions(tuple(least.astype(float).tolist()), tuple(traces.tolist()), of_normal)


def _overlap(overlaps: Sequence[NDArray[np.int64]]) -> NDArray[np.float64]:
    """Return [sizes, types] IoU over all images."""
    both, either = np.moveaxis(np.sum(overlaps, axis=0), -1, 0)
    found: NDArray[np.float64] = both / np.maximum(either, 1)
    return found
