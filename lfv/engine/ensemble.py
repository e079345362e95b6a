"""Experts combined with non-negative weights, and the sets of experts to choose from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lfv.engine.artifact import Arrays
from lfv.engine.experts import (
    CONTRAST,
    DETAIL_EXPERTS,
    PATCH_RIDGE,
    PATCHES,
    PLACES,
    POSITION_EXPERTS,
    UNUSUAL,
    UNUSUAL_CONTRAST,
    Experts,
    Member,
    fit_experts,
)
from lfv.engine.learners import DEEP, DISTANCE, OWN, fit_stack, squash
from lfv.engine.metrics import Bools, Floats
from lfv.engine.observations import OVERVIEW, PIXELS, Observation

#: An expert with a smaller share of the weights is left out.
LEAST_WEIGHT = 0.02
#: With fewer images of a class, no larger view is tried in addition to the backbone, and more
#: experts measure how far an image is from the normal ones.
FEW_IMAGES = 10
#: Classifiers on the pretrained backbone's features.
CLASSIFIERS = ("pool", CONTRAST, PATCH_RIDGE)
#: Distances from the normal images in its features. With more than a few images, the first alone
#: ranked images as well as all (AUROC 0.937 and 0.934 on 30 draws of six sets), in less time.
DISTANCES = (UNUSUAL_CONTRAST, UNUSUAL, PATCHES, PLACES)
#: Name of the backbone's view, of its file in the artifact, and of its description.
BACKBONE = "backbone"


@dataclass(frozen=True)
class Trial:
    """One set of experts that was tried."""

    views: tuple[str, ...]
    auroc: float
    #: ``kind @ view`` to its own out-of-fold AUROC.
    experts: dict[str, float]


@dataclass(frozen=True)
class Ensemble:
    """score = sum of weight * ((expert - centre) / spread) ** power, signs kept."""

    experts: Experts
    centres: tuple[float, ...]
    spreads: tuple[float, ...]
    weights: tuple[float, ...]
    trials: tuple[Trial, ...] = ()
    power: float = 1.0

    @property
    def views(self) -> tuple[str, ...]:
        """Names of the views that experts with a non-zero weight need."""
        return tuple(dict.fromkeys(expert.view for expert in self.experts))

    def __call__(self, observations: Sequence[Observation]) -> Floats:
        """Return [images] scores."""
        total: Floats = np.zeros(len(observations))
        for scores, centre, spread, weight in zip(
            self.experts(observations), self.centres, self.spreads, self.weights, strict=True
        ):
            total += weight * self._compress((scores - centre) / spread)
        return total

    def combine(self, scores: Mapping[Member, Floats]) -> Floats:
        """Combine the experts' scores, such as out-of-fold ones, to [images] scores."""
        columns = zip(self.experts, self.centres, self.spreads, self.weights, strict=True)
        total: Floats = np.sum(
            [
                weight * self._compress((scores[expert.kind, expert.view] - centre) / spread)
                for expert, centre, spread, weight in columns
            ],
            axis=0,
        )
        return total

    def _compress(self, z: Floats) -> Floats:
        if self.power != 1.0:
            z = np.sign(z) * np.abs(z) ** self.power
        return squash(z)

    def to_json(self) -> dict[str, Any]:
        """Return structure and numbers; the heads' weights are in the arrays."""
        return {
            "experts": [{"kind": e.kind, "view": e.view} for e in self.experts],
            "centres": list(self.centres),
            "spreads": list(self.spreads),
            "weights": list(self.weights),
            "power": self.power,
        }

    def to_arrays(self) -> Arrays:
        """Return named arrays for the artifact."""
        return self.experts.to_arrays()

    @classmethod
    def from_stored(cls, value: dict[str, Any], arrays: Arrays) -> Ensemble:
        """Inverse of :meth:`to_json` and :meth:`to_arrays`."""
        members = [(str(e["kind"]), str(e["view"])) for e in value["experts"]]
        experts = Experts.from_arrays(arrays, members)
        centres, spreads, weights = (
            tuple(float(v) for v in value[k]) for k in ("centres", "spreads", "weights")
        )
        if not len(centres) == len(spreads) == len(weights) == len(experts):
            raise ValueError("experts and weights differ in number")
        # Artifacts of earlier versions have no power.
        return cls(experts, centres, spreads, weights, power=float(value.get("power", 1.0)))


def candidate_sets(
    details: Sequence[str], *, pixels: bool, backbone: bool = False, few: bool = False
) -> list[tuple[Member, ...]]:
    """Return the sets of experts to choose from, the cheapest first.

    Args:
        details: Names of the larger views.
        pixels: Whether there is a pixel network.
        backbone: Whether the pretrained backbone takes part.
        few: Whether there are fewer than ``FEW_IMAGES`` images of a class.
    """
    pixels_expert: tuple[Member, ...] = (("pixels", PIXELS),) if pixels else ()
    kinds_on_backbone = (*CLASSIFIERS, *(DISTANCES if few else DISTANCES[:1]))
    deep = tuple((kind, BACKBONE) for kind in kinds_on_backbone) if backbone else ()
    kinds = ("layout", *POSITION_EXPERTS, *DETAIL_EXPERTS)
    whole = tuple((kind, OVERVIEW) for kind in kinds)
    sets = [pixels_expert] if pixels and not backbone else []
    sets.append((*pixels_expert, *whole, *deep))
    for view in details:
        closer = tuple((kind, view) for kind in DETAIL_EXPERTS)
        sets.append((*sets[-1], *closer))
    return sets


def standardise(scores: Mapping[Member, Floats], members: Sequence[Member]) -> Floats:
    """Return [images, experts] scores in deviations from their medians, compressed far out."""
    columns = [scores[member] for member in members]
    standard: Floats = np.stack(
        [squash((c - np.median(c)) / (c.std() + 1e-9)) for c in columns], axis=1
    )
    return standard


def blocks_of(members: Sequence[Member]) -> NDArray[np.int64]:
    """Return [members] the block of each expert for :func:`fit_stack`."""
    blocks = {**dict.fromkeys(DISTANCES, DISTANCE), **dict.fromkeys(CLASSIFIERS, DEEP)}
    return np.array([blocks.get(kind, OWN) for kind, _ in members], dtype=np.int64)


def fit_ensemble(
    members: Sequence[Member],
    scores: Mapping[Member, Floats],
    observations: Sequence[Observation],
    truth: Bools,
    seed: int,
    trials: Sequence[Trial] = (),
) -> Ensemble:
    """Fit experts to all images, weighted by their out-of-fold ``scores``."""
    weights = fit_stack(standardise(scores, members), truth, blocks_of(members))
    kept = [
        (member, float(weight))
        for member, weight in zip(members, weights, strict=True)
        if weight > LEAST_WEIGHT * weights.sum()
    ]
    return Ensemble(
        fit_experts([member for member, _ in kept], observations, truth, seed),
        tuple(float(np.median(scores[member])) for member, _ in kept),
        tuple(float(scores[member].std()) + 1e-9 for member, _ in kept),
        tuple(weight for _, weight in kept),
        tuple(trials),
    )
