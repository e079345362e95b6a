"""The outer loop: what a model trained this way says of images that it has not seen."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace

import numpy as np

from lfv.engine.backbone_trial import fit_best
from lfv.engine.calibration import fit
from lfv.engine.ensemble import Ensemble
from lfv.engine.experts import Member
from lfv.engine.grouping import Groups
from lfv.engine.metrics import Bools, Floats
from lfv.engine.observations import Observation
from lfv.engine.pixels import Matrix, PixelResults

OUTER_FOLDS = 5


@dataclass(frozen=True)
class CrossValidated:
    """A model for use, and honest scores for judging it by."""

    ensemble: Ensemble
    scores: Floats
    """[images] out of fold; choices of experts, views and weights were made inside each fold."""


def cross_validate(
    observations: Sequence[Observation],
    truth: Bools,
    groups: Groups,
    folds: Groups,
    sets: Sequence[Sequence[Member]],
    seed: int,
    executor: Executor,
    pixels: PixelResults | None = None,
    rivals: Sequence[Sequence[Member]] = (),
) -> CrossValidated:
    """Fit on everything, and on everything but each fold.

    Args:
        rivals: Sets of experts that have to be clearly better than ``sets``.
    """
    complete = with_summaries(observations, None if pixels is None else pixels.summaries)
    final = executor.submit(fit_best, complete, truth, groups, sets, rivals, seed)
    jobs = []
    for number, fold in enumerate(np.unique(folds)):
        nested = None if pixels is None else pixels.nested[number]
        rows = with_summaries(observations, nested)
        inside, outside = (
            np.flatnonzero(folds != fold).tolist(),
            np.flatnonzero(folds == fold).tolist(),
        )
        known = [rows[i] for i in inside]
        job = executor.submit(fit_best, known, truth[inside], groups[inside], sets, rivals, seed)
        jobs.append((rows, outside, job))
    scores: Floats = np.zeros(len(observations))
    for rows, outside, job in jobs:
        scores[outside] = job.result()([rows[i] for i in outside])
    return CrossValidated(final.result(), scores)


def with_summaries(
    observations: Sequence[Observation], summaries: Matrix | None
) -> list[Observation]:
    """The same observations with each image's pixel summary put in."""
    if summaries is None:
        return list(observations)
    return [replace(e, pixel_summary=row) for e, row in zip(observations, summaries, strict=True)]


def calibrated_probabilities(truth: Bools, scores: Floats, folds: Groups) -> Floats:
    """Out-of-fold probabilities: each fold calibrated on the others."""
    result: Floats = np.zeros(len(scores))
    for fold in np.unique(folds):
        outside = folds == fold
        result[outside] = fit(truth[~outside], scores[~outside])(scores[outside])
    return result
