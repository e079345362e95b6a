"""Experts combined, with the view chosen: fitted so that an outer fold never leaks in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lfv.engine.artifact import Arrays
from lfv.engine.experts import (
    DETAIL_EXPERTS,
    POSITION_EXPERTS,
    Experts,
    Member,
    fit_experts,
)
from lfv.engine.grouping import Groups, grouped_folds
from lfv.engine.learners import fit_stack, squash
from lfv.engine.metrics import Bools, Floats, auroc
from lfv.engine.observations import OVERVIEW, PIXELS, Observation

INNER_FOLDS = 5
TOLERANCE = 0.002
"""AUROC that a dearer set of experts must add to be worth its time."""


@dataclass(frozen=True)
class Trial:
    """One set of experts that was tried."""

    views: tuple[str, ...]
    auroc: float
    experts: dict[str, float]
    """``kind @ view`` to its own out-of-fold AUROC."""


@dataclass(frozen=True)
class Ensemble:
    """score = sum of weight * (expert - centre) / spread."""

    experts: Experts
    centres: tuple[float, ...]
    spreads: tuple[float, ...]
    weights: tuple[float, ...]
    trials: tuple[Trial, ...] = ()

    @property
    def views(self) -> tuple[str, ...]:
        """Names of the views that experts with any weight need."""
        return tuple(dict.fromkeys(expert.view for expert in self.experts))

    def __call__(self, observations: Sequence[Observation]) -> Floats:
        """[images] scores."""
        total: Floats = np.zeros(len(observations))
        for scores, centre, spread, weight in zip(
            self.experts(observations), self.centres, self.spreads, self.weights, strict=True
        ):
            total += weight * squash((scores - centre) / spread)
        return total

    def to_json(self) -> dict[str, Any]:
        """Structure and numbers; the heads' weights go to the arrays."""
        return {
            "experts": [{"kind": e.kind, "view": e.view} for e in self.experts],
            "centres": list(self.centres),
            "spreads": list(self.spreads),
            "weights": list(self.weights),
        }

    def to_arrays(self) -> Arrays:
        """Named arrays for the artifact."""
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
        return cls(experts, centres, spreads, weights)


def candidate_sets(
    details: Sequence[str], *, pixels: bool, overview: bool = True
) -> list[tuple[Member, ...]]:
    """Sets of experts to choose from, cheapest first, each containing the one before."""
    sets: list[tuple[Member, ...]] = []
    members: list[Member] = []
    if pixels:
        members.append(("pixels", PIXELS))
        sets.append(tuple(members))
    if overview:
        members += [(kind, OVERVIEW) for kind in ("layout", *POSITION_EXPERTS)]
        members += [(kind, OVERVIEW) for kind in DETAIL_EXPERTS]
        sets.append(tuple(members))
    for view in details:
        members += [(kind, view) for kind in DETAIL_EXPERTS]
        sets.append(tuple(members))
    return sets


def fit_ensemble(
    observations: Sequence[Observation],
    truth: Bools,
    groups: Groups,
    sets: Sequence[Sequence[Member]],
    seed: int,
) -> Ensemble:
    """Choose a set of experts and their weights by grouped cross-validation, then fit them.

    The first (cheapest) set is taken that comes within ``TOLERANCE`` of the best.
    """
    folds = grouped_folds(groups, truth, INNER_FOLDS, np.random.default_rng(seed))
    scores: dict[Member, Floats] = {}
    trials: list[Trial] = []
    for members in sets:
        fresh = [member for member in members if member not in scores]
        scores |= _out_of_fold(fresh, observations, truth, folds, seed)
        standard = _standard(scores, members)
        views = tuple(dict.fromkeys(view for _, view in members))
        own = {f"{kind} @ {view}": auroc(truth, scores[kind, view]) for kind, view in members}
        trials.append(Trial(views, _merit(standard, truth, folds), own))
    best = max(trial.auroc for trial in trials)
    chosen = next(i for i, trial in enumerate(trials) if trial.auroc >= best - TOLERANCE)
    members = sets[chosen]
    weights = fit_stack(_standard(scores, members), truth)
    kept = [
        (member, float(weight))
        for member, weight in zip(members, weights, strict=True)
        if weight > 0.02 * weights.sum()
    ]
    return Ensemble(
        fit_experts([member for member, _ in kept], observations, truth, seed),
        tuple(float(np.median(scores[member])) for member, _ in kept),
        tuple(float(scores[member].std()) + 1e-9 for member, _ in kept),
        tuple(weight for _, weight in kept),
        tuple(trials),
    )


def _standard(scores: dict[Member, Floats], members: Sequence[Member]) -> Floats:
    columns = [scores[m] for m in members]
    standard: Floats = np.stack(
        [squash((c - np.median(c)) / (c.std() + 1e-9)) for c in columns], axis=1
    )
    return standard


def _out_of_fold(
    members: Sequence[Member],
    observations: Sequence[Observation],
    truth: Bools,
    folds: Groups,
    seed: int,
) -> dict[Member, Floats]:
    scores: dict[Member, Floats] = {member: np.zeros(len(observations)) for member in members}
    for fold in np.unique(folds):
        inside, outside = (
            np.flatnonzero(folds != fold).tolist(),
            np.flatnonzero(folds == fold).tolist(),
        )
        known = [observations[i] for i in inside]
        experts = fit_experts(members, known, truth[inside], seed + int(fold))
        found = experts([observations[i] for i in outside])
        for member, values in zip(members, found, strict=True):
            scores[member][outside] = values
    return scores


def _merit(standard: Floats, truth: Bools, folds: Groups) -> float:
    """AUROC of the stack, its weights always from the other folds."""
    combined = np.zeros(len(truth))
    for fold in np.unique(folds):
        outside = folds == fold
        combined[outside] = standard[outside] @ fit_stack(standard[~outside], truth[~outside])
    return auroc(truth, combined)
