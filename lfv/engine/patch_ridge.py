"""A classifier of patches that learns from labels of whole images.

Most patches of an anomalous image are normal. A first ridge regression separates all of them from
the patches of normal images; a second one uses only those that the first found most anomalous
(multiple-instance learning, Dietterich 1997). It finds defects that pooled features are too coarse
for. It uses all channels of the backbone: on 20 draws of four sets its AUROC was 0.91 instead of
0.86 with the mixed channels of :mod:`patches`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lfv.engine.artifact import StoredFields
from lfv.engine.metrics import Bools, Floats
from lfv.engine.patches import smooth
from lfv.engine.positional import coarse

Matrix = NDArray[np.float32]
#: Share of an anomalous image's patches that count as anomalous in the second regression.
KEPT = 0.2
#: Ridge penalty, relative to the mean variance.
PENALTY = 0.1
#: An image's score is the mean over this share of its patches, the most anomalous.
HIGHEST = 0.05
#: Number of patches from which a regression learns.
SAMPLE = 6_000
#: Values kept while training, as float16. Of more values, only those of every n-th patch are kept.
BUDGET = 100e6


class Patches(Protocol):
    """All channels of an image's patches."""

    def project(self, weight: Matrix, /) -> Matrix:
        """Return the product of each patch and ``weight``, [patches]."""


@dataclass(frozen=True)
class StoredPatches:
    """Patches that are kept while training."""

    #: [patches, channels]
    values: NDArray[np.float16]

    @classmethod
    def of(cls, taps: Sequence[Matrix], images: int) -> StoredPatches:
        """Return the patches of one of ``images`` images.

        Args:
            taps: As for :func:`lfv.engine.patches.patches_of`.
            images: Number of images whose patches are kept.
        """
        fine, middle, rough = taps
        wide = rough.repeat(2, axis=1).repeat(2, axis=2)
        maps = smooth(np.concatenate([coarse(fine), middle, wide]))
        flat = maps.reshape(len(maps), -1)
        step = max(1, -(-flat.size * images // int(BUDGET)))
        return cls(np.ascontiguousarray(flat[:, ::step].T.astype(np.float16)))

    def project(self, weight: Matrix, /) -> Matrix:
        """Return the product of each patch and ``weight``, [patches]."""
        product: Matrix = self.values.astype(np.float32) @ weight
        return product


@dataclass(frozen=True)
class TappedPatches:
    """Patches that are not computed: maps are averaged after their channels are summed."""

    taps: Sequence[Matrix]

    def project(self, weight: Matrix, /) -> Matrix:
        """Return the product of each patch and ``weight``, [patches]."""
        ends = np.cumsum([len(one) for one in self.taps])[:-1]
        parts = zip(np.split(weight, ends), self.taps, strict=True)
        fine, middle, rough = (np.tensordot(part, one, axes=1) for part, one in parts)
        total = coarse(fine[None]) + middle + rough.repeat(2, axis=0).repeat(2, axis=1)
        product: Matrix = smooth(total).ravel()
        return product


@dataclass(frozen=True)
class PatchRidge(StoredFields):
    """score = mean of the highest values of patch . weight."""

    #: [channels]
    weight: Matrix

    def __call__(self, images: Sequence[Patches]) -> Floats:
        """Return [images] scores."""
        return np.array([self._score(one.project(self.weight)) for one in images])

    @staticmethod
    def _score(values: Matrix) -> float:
        take = max(1, round(len(values) * HIGHEST))
        return float(np.partition(values, -take)[-take:].mean())


@dataclass(frozen=True)
class _Moments:
    """Mean and covariance of a sample of patches."""

    mean: Floats
    covariance: Floats


def fit_patch_ridge(patches: Sequence[StoredPatches], truth: Bools) -> PatchRidge:
    """Learn from the patches of images, and whether each image is anomalous."""
    step = max(1, -(-sum(len(one.values) for one in patches) // SAMPLE))
    some = [one.values[n % step :: step] for n, one in enumerate(patches)]
    ground = _moments(one for one, t in zip(some, truth, strict=True) if not t)
    gain = 1 / (np.sqrt(np.diag(ground.covariance)) + 1e-3)
    weight = _ridge(ground, _moments(one for one, t in zip(some, truth, strict=True) if t), gain)
    anomalous = [one for one, t in zip(patches, truth, strict=True) if t]
    return PatchRidge(_ridge(ground, _moments(_highest(one, weight) for one in anomalous), gain))


def _highest(patches: StoredPatches, weight: Matrix) -> NDArray[np.float16]:
    """Return the patches with the highest products."""
    values = patches.project(weight)
    take = max(1, round(len(values) * KEPT))
    return patches.values[np.argpartition(values, -take)[-take:]]


def _moments(samples: Iterable[NDArray[np.float16]]) -> _Moments:
    count, total, squares = 0, None, None
    for sample in samples:
        rows = sample.astype(np.float32)
        products, sums = rows.T @ rows, rows.sum(axis=0, dtype=np.float64)
        squares = products if squares is None else squares + products
        total = sums if total is None else total + sums
        count += len(rows)
    if total is None or squares is None:
        raise ValueError("a regression of patches needs patches")
    mean = total / count
    return _Moments(mean, squares.astype(np.float64) / count - np.outer(mean, mean))


def _ridge(ground: _Moments, other: _Moments, gain: Floats) -> Matrix:
    """Return weights that separate two samples of patches of equal total weight."""
    apart = (other.mean - ground.mean) * gain
    scatter = (ground.covariance + other.covariance) / 2 * np.outer(gain, gain)
    scatter += np.outer(apart, apart) / 4
    strength = PENALTY * float(np.trace(scatter)) / len(scatter)
    solved = np.linalg.solve(scatter + (strength + 1e-9) * np.eye(len(scatter)), apart)
    weight: Matrix = (solved * gain).astype(np.float32)
    return weight
