"""A memory of normal patches, and the distances of an image's patches from it.

Follows PatchCore (Roth 2022) on the pretrained backbone's maps. These are scaled to the grid of the
middle one, mixed into fewer channels by fixed random weights, which nearly preserves distances
(Johnson, Lindenstrauss 1984), and averaged over 3 x 3 cells. The memory is a whitened random
sample; on small sets 2,000 patches ranked images as well as 6,000.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
from numpy.typing import NDArray

from lfv.engine.artifact import StoredFields
from lfv.engine.metrics import Floats
from lfv.engine.positional import coarse

Matrix = NDArray[np.float32]
#: Channels of a patch.
MIXED = 128
#: Principal components in which patches are compared.
COMPONENTS = 64
#: Number of patches in the memory.
KEPT = 2000
#: An image's score is the mean distance of this share of its patches, the farthest.
FARTHEST = 0.02
#: That share for distances from the mean at the same position.
FARTHEST_PLACES = 0.1
#: Number of patches from which the components are learned.
SAMPLE = 40_000
#: Typical deviation of each map's channels on photographs, used to weight the maps equally.
_SPREADS = (0.95, 0.47, 2.2)
#: Patches whose distances are computed at once; as many as fit in the processor's cache.
_AT_ONCE = 128
#: Number of kept patches that give a first upper bound of a distance.
_FEW = 250
#: Share of an image's patches whose distances are computed first.
_FIRST = 0.1
#: Lower bound of a component's variance, as a share of the mean variance.
_FLOOR = 0.1


def patches_of(taps: Sequence[Matrix]) -> Matrix:
    """Return the patches of an image, [cells, MIXED].

    Args:
        taps: The three maps of the pretrained backbone, [channels, rows, columns] each; every one
            has half the rows and columns of the one before.
    """
    fine, middle, rough = taps
    halved = coarse(fine)
    weights = _weights(tuple(len(one) for one in taps))
    mixed: Matrix = np.tensordot(weights[0], halved, axes=1).astype(np.float32, copy=False)
    mixed += np.tensordot(weights[1], middle, axes=1)
    mixed += np.tensordot(weights[2], rough, axes=1).repeat(2, axis=1).repeat(2, axis=2)
    patches: Matrix = np.ascontiguousarray(smooth(mixed).reshape(MIXED, -1).T)
    return patches


def smooth(maps: Matrix) -> Matrix:
    """Average over 3 x 3 cells, repeating the border. Sums of slices are faster than a filter."""
    padded = np.pad(maps, ((0, 0), (1, 1), (1, 1)), mode="edge")
    down = padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]
    mean: Matrix = (down[..., :-2] + down[..., 1:-1] + down[..., 2:]) / 9
    return mean


@cache
def _weights(channels: tuple[int, ...]) -> tuple[Matrix, ...]:
    """Return fixed random weights for maps with these channels, [MIXED, channels] each."""
    found = []
    for number, (count, spread) in enumerate(zip(channels, _SPREADS, strict=True)):
        weights = np.random.default_rng(number).standard_normal((MIXED, count))
        found.append((weights / (spread * np.sqrt(count))).astype(np.float32))
    return tuple(found)


@dataclass(frozen=True)
class PatchMemory(StoredFields):
    """score = log of the mean distance of the farthest patches from the nearest normal ones."""

    HALVES = frozenset({"kept"})

    #: [MIXED]
    centre: Matrix
    #: [MIXED, components]
    whitening: Matrix
    #: [patches, components]
    kept: Matrix

    def __post_init__(self) -> None:
        if not len(self.kept) or self.whitening.shape != (MIXED, self.kept.shape[1]):
            raise ValueError("a memory of patches needs patches")

    def __call__(self, patches: Matrix) -> Floats:
        """Map [images, cells, MIXED] to [images] scores."""
        return np.array([self._score(one) for one in patches])

    def _score(self, patches: Matrix) -> float:
        """Compute exact distances only where they can matter.

        The nearest of a few kept patches bounds a distance from above, and the farthest patches are
        usually those with the highest bounds. The result is that of computing all distances.
        """
        found = np.asarray((patches - self.centre) @ self.whitening, dtype=np.float32)
        take = _share_of(len(found), FARTHEST)
        squares = (found**2).sum(axis=1)
        bound = self._nearest(found, slice(None, _FEW)) + squares
        order = np.argsort(-bound)
        done, stop = 0, max(take, _share_of(len(found), _FIRST))
        while done < stop:
            rows = order[done:stop]
            others = self._nearest(found[rows], slice(_FEW, None)) + squares[rows]
            bound[rows] = np.minimum(bound[rows], others)
            done = stop
            least = np.partition(bound[order[:done]], -take)[-take]
            stop += int((bound[order[done:]] > least).sum())
        farthest = np.partition(bound[order[:done]], -take)[-take:]
        return _log_mean(np.sqrt(np.maximum(farthest, 0)))

    def _nearest(self, found: Matrix, kept: slice) -> Matrix:
        """Return [found], the squared distance from the nearest of some kept patches, less the
        squared length of what was found; infinite if there are none.
        """
        pulling, squares = self._minus_twice_kept[:, kept], self._kept_squares[kept]
        if not len(squares):
            return np.full(len(found), np.inf, dtype=np.float32)
        nearest = []
        for some in np.array_split(found, max(1, len(found) // _AT_ONCE)):
            distances: Matrix = some @ pulling
            distances += squares
            nearest.append(distances.min(axis=1))
        return np.concatenate(nearest)

    @cached_property
    def _minus_twice_kept(self) -> Matrix:
        """[components, patches] by which patches are multiplied to get distances."""
        return np.ascontiguousarray(-2 * self.kept.T)

    @cached_property
    def _kept_squares(self) -> Matrix:
        """[patches] squared lengths of the kept patches, the same for every image."""
        squares: Matrix = (self.kept**2).sum(axis=1)
        return squares


@dataclass(frozen=True)
class PlacesHead(StoredFields):
    """score = log of the mean distance of the farthest patches from the normal mean there."""

    HALVES = frozenset({"mean"})

    #: [MIXED]
    centre: Matrix
    #: [MIXED, components], so that the deviation from the mean in the same place is about 1.
    whitening: Matrix
    #: [cells, components]
    mean: Matrix

    def __post_init__(self) -> None:
        if self.whitening.shape != (MIXED, self.mean.shape[1]):
            raise ValueError("means of patches need as many components as patches have")

    def __call__(self, patches: Matrix) -> Floats:
        """Map [images, cells, MIXED] to [images] scores."""
        return np.array([self._score(one) for one in patches])

    def _score(self, patches: Matrix) -> float:
        away = (patches - self.centre) @ self.whitening - self.mean
        return _log_farthest(np.sqrt((away**2).mean(axis=1)), FARTHEST_PLACES)


def _log_farthest(distances: Matrix, share: float) -> float:
    """Return the log of the mean of the largest ``share`` of the distances."""
    take = _share_of(len(distances), share)
    return _log_mean(np.partition(distances, -take)[-take:])


def _log_mean(distances: Matrix) -> float:
    return float(np.log(distances.mean() + 1e-6))


def _share_of(count: int, share: float) -> int:
    """Return this share of ``count``, at least one."""
    return max(1, round(count * share))


def fit_patches(patches: Sequence[Matrix]) -> tuple[PatchMemory, PlacesHead]:
    """Learn from the patches of normal images, [cells, MIXED] each."""
    known, centre, whitening = _whitened(patches)
    chosen = np.random.default_rng(0).permutation(len(known))[:KEPT]
    kept: Matrix = known[chosen] - centre
    memory = PatchMemory(centre, whitening, kept @ whitening)
    return memory, _fit_places(patches, centre, whitening)


def _whitened(patches: Sequence[Matrix]) -> tuple[Matrix, Matrix, Matrix]:
    """Return a sample of the patches, its mean, and the matrix that whitens it."""
    step = max(1, sum(len(one) for one in patches) // SAMPLE)
    known = np.concatenate([one[n % step :: step] for n, one in enumerate(patches)]).astype(
        np.float32
    )
    centre = known.mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov((known - centre).T.astype(np.float64)))
    values, vectors = values[::-1][:COMPONENTS], vectors[:, ::-1][:, :COMPONENTS]
    whitening = (vectors / np.sqrt(values + _FLOOR * values.mean() + 1e-9)).astype(np.float32)
    return known, centre, whitening


def _fit_places(patches: Sequence[Matrix], centre: Matrix, whitening: Matrix) -> PlacesHead:
    total: Matrix = np.zeros((len(patches[0]), whitening.shape[1]), dtype=np.float32)
    squares = total.copy()
    for one in patches:
        found = (one - centre) @ whitening
        total += found
        squares += found**2
    mean = total / len(patches)
    variance = np.maximum(squares / len(patches) - mean**2, 0)
    gain = 1 / (np.sqrt(variance).mean(axis=0) + 1e-3)
    return PlacesHead(centre, whitening * gain, mean * gain)
