"""A classifier of patches that learns from labels of whole images.

Most patches of an anomalous image are normal. A first ridge regression separates all of them from
the patches of normal images; a second one uses only those that the first found most anomalous
(multiple-instance learning, Dietterich 1997). It finds defects that pooled features are too coarse
for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lfv.engine.artifact import Arrays
from lfv.engine.metrics import Bools, Floats
from lfv.engine.patches import FARTHEST, MIXED, SAMPLE

Matrix = NDArray[np.float32]
#: Share of an anomalous image's patches that count as anomalous in the second regression.
KEPT = 0.2
#: Ridge penalty, relative to the mean variance.
PENALTY = 0.01
#: Channels are clipped at this many deviations.
CLIP = 6.0


@dataclass(frozen=True)
class PatchRidge:
    """score = mean of the highest values of clip((patch - centre) * gain) . weight."""

    #: [MIXED]
    centre: Matrix
    #: [MIXED]
    gain: Matrix
    #: [MIXED]
    weight: Matrix

    def __call__(self, patches: NDArray[np.floating]) -> Floats:
        """Map [images, cells, MIXED] to [images] scores."""
        return np.array([self._score(one) for one in patches])

    def _score(self, patches: NDArray[np.floating]) -> float:
        values = _standard(patches, self.centre, self.gain) @ self.weight
        take = max(1, round(len(values) * FARTHEST))
        return float(np.partition(values, -take)[-take:].mean())

    def to_arrays(self, prefix: str) -> Arrays:
        """Return named arrays for the artifact."""
        return {
            f"{prefix}.centre": self.centre,
            f"{prefix}.gain": self.gain,
            f"{prefix}.weight": self.weight,
        }

    @classmethod
    def from_arrays(cls, arrays: Arrays, prefix: str) -> PatchRidge:
        """Inverse of :meth:`to_arrays`; a missing array is a KeyError."""
        centre, gain, weight = (arrays[f"{prefix}.{n}"] for n in ("centre", "gain", "weight"))
        if not centre.shape == gain.shape == weight.shape == (MIXED,):
            raise ValueError("a patch has as many weights as channels")
        return cls(centre, gain, weight)


def _standard(patches: NDArray[np.floating], centre: Matrix, gain: Matrix) -> Matrix:
    z: Matrix = patches.astype(np.float32)
    z -= centre
    z *= gain
    return np.clip(z, -CLIP, CLIP, out=z)


def fit_patch_ridge(patches: Sequence[NDArray[np.floating]], truth: Bools) -> PatchRidge:
    """Learn from the patches of images, [cells, MIXED] each, and whether each is anomalous."""
    step = max(1, sum(len(one) for one in patches) // SAMPLE)
    some = [one[n % step :: step] for n, one in enumerate(patches)]
    normal = np.concatenate([one for one, t in zip(some, truth, strict=True) if not t])
    normal = normal.astype(np.float32)
    centre: Matrix = normal.mean(axis=0)
    gain: Matrix = 1 / (normal.std(axis=0) + 1e-3)
    ground = _standard(normal, centre, gain)
    anomalous = [_standard(one, centre, gain) for one, t in zip(some, truth, strict=True) if t]
    weight = _ridge(ground, np.concatenate(anomalous))
    chosen = [one[np.argsort(one @ weight)[-max(1, round(len(one) * KEPT)) :]] for one in anomalous]
    return PatchRidge(centre, gain, _ridge(ground, np.concatenate(chosen)))


def _ridge(ground: Matrix, other: Matrix) -> Matrix:
    """Return weights that separate two samples of patches of equal total weight."""
    share = len(ground) / len(other)
    mean = (ground.mean(axis=0) + other.mean(axis=0)) / 2
    scatter = (ground.T @ ground + share * (other.T @ other)).astype(np.float64)
    scatter -= 2 * len(ground) * np.outer(mean, mean)
    strength = PENALTY * float(np.trace(scatter)) / len(scatter)
    target = len(ground) * (other.mean(axis=0) - ground.mean(axis=0)).astype(np.float64)
    solved = np.linalg.solve(scatter + (strength + 1e-9) * np.eye(len(scatter)), target)
    weight: Matrix = solved.astype(np.float32)
    return weight
