"""What is done to images of another size than a model's: where trainings and runs have it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lfv.formats.fit import Fit
from lfv_store import Training

FIT = "fit"
"""Member of a training's images to train on, and of a run's parameters."""


def fit_of_training(training: Training | None) -> Fit | None:
    """What the record of a training says; None: images of other sizes are refused."""
    images = {} if training is None else training.images.get("train", {})
    return fit_in(images)


def fit_in(facts: Mapping[str, Any]) -> Fit | None:
    """What the member `FIT` says."""
    return Fit.parse(str(facts.get(FIT) or ""))
