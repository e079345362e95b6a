"""The experts: each turns an image's evidence into one score that grows with anomaly.

ridge-0.1, ridge-1, lasso, stumps    what there is in the image, at the detail view's size
layout                               where it is, in the overview (aligned where that helps)
position                             how each position differs from the normal parts
pixels                               what the pixel head paints (with masks only)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lfv_server.engine.artifact import Arrays
from lfv_server.engine.evidence import Evidence, all_maps, layouts, statistics
from lfv_server.engine.learners import (
    Head,
    fit_lasso,
    fit_ridge,
    fit_stumps,
    head_from_arrays,
)
from lfv_server.engine.metrics import Bools, Floats
from lfv_server.engine.positional import PositionalHead, fit_positional

Matrix = NDArray[np.float32]
DETAIL_EXPERTS = ("ridge-0.1", "ridge-1", "lasso", "stumps")
POSITION_PARTS = 3


@dataclass(frozen=True)
class Expert:
    """A fitted expert."""

    kind: str
    view: str
    head: Head
    positional: PositionalHead | None = None

    def __call__(self, evidence: Sequence[Evidence]) -> Floats:
        """[images] scores."""
        return self.head(self._values(evidence))

    def _values(self, evidence: Sequence[Evidence]) -> Matrix:
        if self.positional is not None:
            return positional_values(self.positional, evidence)
        return values_of(self.kind, self.view, evidence)

    def to_arrays(self, prefix: str) -> Arrays:
        """Named arrays for the artifact."""
        arrays = self.head.to_arrays(prefix)
        if self.positional is not None:
            arrays |= self.positional.to_arrays(f"{prefix}.position")
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Arrays, prefix: str, kind: str, view: str) -> Expert:
        """Inverse of :meth:`to_arrays`."""
        positional = None
        if f"{prefix}.position.mean" in arrays:
            positional = PositionalHead.from_arrays(arrays, f"{prefix}.position")
        return cls(kind, view, head_from_arrays(arrays, prefix), positional)


def values_of(kind: str, view: str, evidence: Sequence[Evidence]) -> Matrix:
    """[images, values] that an expert of this kind looks at."""
    if kind == "layout":
        return layouts(evidence)
    if kind == "pixels":
        return np.stack([e.pixel_summary for e in evidence if e.pixel_summary is not None])
    return statistics(evidence, view)


def positional_values(head: PositionalHead, evidence: Sequence[Evidence]) -> Matrix:
    """[images, values]: how far each image is from the normal ones, in which respects."""
    return np.stack([head.statistics(e.maps) for e in evidence if e.maps is not None])


def fit_expert(
    kind: str,
    view: str,
    evidence: Sequence[Evidence],
    truth: Bools,
    random: np.random.Generator,
) -> Expert:
    """Fit one expert to labelled evidence."""
    if kind == "position":
        return _fit_position(view, evidence, truth, random)
    x = values_of(kind, view, evidence)
    if kind == "lasso":
        return Expert(kind, view, fit_lasso(x, truth))
    if kind == "stumps":
        return Expert(kind, view, fit_stumps(x, truth, random))
    penalty = {"ridge-0.1": 0.1, "ridge-1": 1.0, "layout": 0.3, "pixels": 0.1}[kind]
    return Expert(kind, view, fit_ridge(x, truth, penalty))


def _fit_position(
    view: str, evidence: Sequence[Evidence], truth: Bools, random: np.random.Generator
) -> Expert:
    """The normals that the head is judged by are scored by heads that have not seen them:
    a Gaussian is always closer to its own sample.
    """
    values, _ = held_out_distances(evidence, truth, random)
    head = fit_positional(all_maps([e for e, t in zip(evidence, truth, strict=True) if not t]))
    return Expert("position", view, fit_ridge(values, truth, 0.1), head)


def held_out_distances(
    evidence: Sequence[Evidence], truth: Bools, random: np.random.Generator
) -> tuple[Matrix, NDArray[np.int64]]:
    """Positional values of every image from heads fitted to other normals, and the parts."""
    normal = np.flatnonzero(~truth)
    part = np.full(len(evidence), -1)
    part[random.permutation(normal)] = np.arange(len(normal)) % POSITION_PARTS
    rows: list[Matrix | None] = [None] * len(evidence)
    for number in range(POSITION_PARTS):
        inside = [evidence[i] for i in normal.tolist() if part[i] != number]
        head = fit_positional(all_maps(inside))
        wanted = np.flatnonzero(
            (part == number) | (truth & (np.arange(len(truth)) % 3 == number))
        ).tolist()
        for i, row in zip(
            wanted, positional_values(head, [evidence[i] for i in wanted]), strict=True
        ):
            rows[i] = row
    return np.stack([row for row in rows if row is not None]), part
