"""The experts: each turns an image's observations into one score that rises with anomaly.

pool                                 what a deep backbone sees anywhere in the image
contrast                             what it sees in one region more than in the others
ridge-0.1, ridge-1, lasso, stumps    what there is in the image, at the detail view's size
layout                               where it is, in the overview (aligned if that helps)
position                             how each position differs from the normal parts
distance, nearest                    how far the farthest positions are from what is usual there,
                                     and from the nearest normal image; not learned
unusual                              how far the image as a whole is from the normal images, in the
                                     backbone's features
unusual-contrast                     the same, for what it sees in one region more than in others
directed                             the distance of the image along what drawn defects change
matched, matched-contrast            how much the image and its regions are like single drawn ones
patches, places                      how far patches are from the nearest normal ones, and from the
                                     mean of those at the same position
patch-ridge                          how much patches are like those of anomalous images
pixels                               what the pixel head paints (with masks only)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from lfv.engine.artifact import Arrays
from lfv.engine.learners import (
    CLIP,
    Head,
    LinearHead,
    fit_lasso,
    fit_ridge,
    fit_stumps,
    fit_unusual,
    head_from_arrays,
)
from lfv.engine.metrics import Bools, Floats
from lfv.engine.observations import Observation, all_maps, layouts, statistics
from lfv.engine.patch_ridge import PatchRidge, StoredPatches, fit_patch_ridge
from lfv.engine.patches import PatchMemory, PlacesHead, fit_patches
from lfv.engine.positional import SUMS, PositionalHead, fit_positional
from lfv.engine.pretrained.lite0 import CHANNELS

Matrix = NDArray[np.float32]
DETAIL_EXPERTS = ("ridge-0.1", "ridge-1", "lasso", "stumps")
#: The experts that share one :class:`PositionalHead`.
POSITION_EXPERTS = ("position", *SUMS)
POSITION_PARTS = 3
#: The expert that compares the image as a whole with the normal images.
UNUSUAL = "unusual"
#: Experts that compare patches with those of normal images, anywhere and in the same place.
PATCHES, PLACES = "patches", "places"
#: The expert that looks for a region that differs from the rest of the image, as in anomalous ones,
#: and the one that looks for a difference that normal images do not have.
CONTRAST, UNUSUAL_CONTRAST = "contrast", "unusual-contrast"
#: Experts that look for what drawn defects change: for any of it, or as one of them changes the
#: image as a whole, or one region more than others.
DIRECTED, MATCHED, MATCHED_CONTRAST = "directed", "matched", "matched-contrast"
#: The expert that distinguishes patches of anomalous images from those of normal ones.
PATCH_RIDGE = "patch-ridge"
#: Experts on the backbone's mixed patches.
PATCH_EXPERTS = (PATCHES, PLACES)
AnyHead = Head | PatchMemory | PlacesHead | PatchRidge

_PENALTIES = {
    "ridge-0.1": 0.1,
    "ridge-1": 1.0,
    "layout": 0.3,
    "pixels": 0.1,
    "pool": 0.05,
    CONTRAST: 0.05,
}
#: (kind of expert, view)
Member = tuple[str, str]


@dataclass(frozen=True)
class Expert:
    """A fitted expert."""

    kind: str
    view: str
    head: AnyHead


@dataclass(frozen=True)
class Experts:
    """Fitted experts, and the positional head shared by ``POSITION_EXPERTS``."""

    members: tuple[Expert, ...]
    positional: PositionalHead | None = None

    def __post_init__(self) -> None:
        if self.positional is None and any(e.kind in POSITION_EXPERTS for e in self.members):
            raise KeyError("positional head")

    def __iter__(self) -> Iterator[Expert]:
        return iter(self.members)

    def __len__(self) -> int:
        return len(self.members)

    def __call__(self, observations: Sequence[Observation]) -> list[Floats]:
        """Return the [images] scores of each expert."""
        found = None
        if self.positional is not None:
            found = positional_values(self.positional, observations)
        scores = []
        for e in self.members:
            if isinstance(e.head, PatchRidge):
                scores.append(e.head([o.unmixed for o in observations if o.unmixed is not None]))
            elif found is not None and e.kind in POSITION_EXPERTS:
                scores.append(e.head(found))
            else:
                scores.append(e.head(values_of(e.kind, e.view, observations)))
        return scores

    @cached_property
    def described_views(self) -> frozenset[str]:
        """Names of the views whose descriptions an expert uses."""
        without = {*POSITION_EXPERTS, *PATCH_EXPERTS, PATCH_RIDGE, "pixels"}
        return frozenset(e.view for e in self.members if e.kind not in without)

    def to_arrays(self) -> Arrays:
        """Return named arrays for the artifact."""
        arrays: Arrays = {}
        for number, expert in enumerate(self.members):
            arrays |= expert.head.to_arrays(f"expert{number}")
        if self.positional is not None:
            arrays |= self.positional.to_arrays("position")
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Arrays, members: Sequence[Member]) -> Experts:
        """Inverse of :meth:`to_arrays`; a missing array is a KeyError."""
        experts = tuple(
            Expert(kind, view, _load_head(kind, arrays, f"expert{number}"))
            for number, (kind, view) in enumerate(members)
        )
        positional = None
        if "position.mean" in arrays:
            positional = PositionalHead.from_arrays(arrays, "position")
        return cls(experts, positional)


def _load_head(kind: str, arrays: Arrays, prefix: str) -> AnyHead:
    if kind == PATCHES:
        return PatchMemory.from_arrays(arrays, prefix)
    if kind == PLACES:
        return PlacesHead.from_arrays(arrays, prefix)
    if kind == PATCH_RIDGE:
        return PatchRidge.from_arrays(arrays, prefix)
    return head_from_arrays(arrays, prefix)


def values_of(kind: str, view: str, observations: Sequence[Observation]) -> Matrix:
    """Return the [images, values] that an expert of this kind uses."""
    if kind == "layout":
        return layouts(observations)
    if kind in PATCH_EXPERTS:
        return np.stack([e.patches for e in observations if e.patches is not None])
    if kind in (CONTRAST, UNUSUAL_CONTRAST, MATCHED_CONTRAST):
        regions = np.stack([e.descriptions[view].regions for e in observations])
        if kind == MATCHED_CONTRAST:
            return absolute_contrasts(regions)
        return regions if kind == CONTRAST else relative_contrasts(regions)
    if kind == "pixels":
        return np.stack([e.pixel_summary for e in observations if e.pixel_summary is not None])
    return statistics(observations, view)


def absolute_contrasts(regions: Matrix) -> Matrix:
    """Return the other half of a deep backbone's regions, [images, values]."""
    return regions[:, : regions.shape[1] // 2]


def relative_contrasts(regions: Matrix) -> Matrix:
    """Return the half of a deep backbone's regions that are multiples of a channel's deviation."""
    return regions[:, regions.shape[1] // 2 :]


def positional_values(head: PositionalHead, observations: Sequence[Observation]) -> Matrix:
    """Return [images, values], the distances of each image from the normal ones."""
    return np.stack([head.statistics(e.maps) for e in observations if e.maps is not None])


def fit_experts(
    members: Sequence[Member],
    observations: Sequence[Observation],
    truth: Bools,
    seed: int,
) -> Experts:
    """Fit experts to labelled observations."""
    positional = None
    if any(kind in POSITION_EXPERTS for kind, _ in members):
        normal = [e for e, t in zip(observations, truth, strict=True) if not t]
        positional = fit_positional(all_maps(normal))
    compared: dict[str, PatchMemory | PlacesHead] = {}
    if any(kind in (PATCHES, PLACES) for kind, _ in members):
        normals = [e.patches for e, t in zip(observations, truth, strict=True) if not t]
        heads = fit_patches([patches for patches in normals if patches is not None])
        compared = dict(zip((PATCHES, PLACES), heads, strict=True))
    fitted = []
    for kind, view in members:
        head: AnyHead
        if kind in SUMS and positional is not None:
            head = passthrough_head(kind, positional.values)
        elif kind in compared:
            head = compared[kind]
        elif kind == PATCH_RIDGE:
            seen = [o.unmixed for o in observations if isinstance(o.unmixed, StoredPatches)]
            head = fit_patch_ridge(seen, truth)
        else:
            head = _fit_head(kind, view, observations, truth, np.random.default_rng(seed))
        fitted.append(Expert(kind, view, head))
    return Experts(tuple(fitted), positional)


def _fit_head(
    kind: str,
    view: str,
    observations: Sequence[Observation],
    truth: Bools,
    random: np.random.Generator,
) -> Head:
    if kind == "position":
        # Normals are scored by heads that were not fitted to them, because a Gaussian is always
        # closer to its own sample.
        values, _ = held_out_distances(observations, truth, random)
        return fit_ridge(values, truth, 0.1)
    x = values_of(kind, view, observations)
    if kind == UNUSUAL:
        return fit_unusual(x[~truth], CHANNELS)
    if kind == UNUSUAL_CONTRAST:
        return fit_unusual(x[~truth])
    if kind == "lasso":
        return fit_lasso(x, truth)
    if kind == "stumps":
        return fit_stumps(x, truth, random)
    return fit_ridge(x, truth, _PENALTIES[kind])


def passthrough_head(kind: str, values: int) -> LinearHead:
    """Return a head on positional values: the one of ``SUMS`` named ``kind``, clipped at 100."""
    reach = 100.0
    weight: Matrix = np.zeros(values, dtype=np.float32)
    weight[SUMS.index(kind) - len(SUMS)] = reach / CLIP
    gain: Matrix = np.full(values, CLIP / reach, dtype=np.float32)
    return LinearHead(np.zeros(values, dtype=np.float32), gain, weight, 0.0)


def held_out_distances(
    observations: Sequence[Observation], truth: Bools, random: np.random.Generator
) -> tuple[Matrix, NDArray[np.int64]]:
    """Return each image's positional values, by heads fitted to other normals, and the folds."""
    normal = np.flatnonzero(~truth)
    part = np.full(len(observations), -1)
    part[random.permutation(normal)] = np.arange(len(normal)) % POSITION_PARTS
    rows: list[Matrix | None] = [None] * len(observations)
    for number in range(POSITION_PARTS):
        inside = [observations[i] for i in normal.tolist() if part[i] != number]
        head = fit_positional(all_maps(inside))
        wanted = np.flatnonzero(
            (part == number) | (truth & (np.arange(len(truth)) % 3 == number))
        ).tolist()
        for i, row in zip(
            wanted, positional_values(head, [observations[i] for i in wanted]), strict=True
        ):
            rows[i] = row
    return np.stack([row for row in rows if row is not None]), part
