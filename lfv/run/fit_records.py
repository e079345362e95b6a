"""How trainings and runs record the adaptation of images of other sizes than the model's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lfv.formats.fit import Fit
from lfv_store import Training

#: The member's name in a training's `images` and in a run's parameters.
FIT = "fit"


def fit_of_training(training: Training | None) -> Fit | None:
    """Return a training's fit; None if images of other sizes are refused."""
    images = {} if training is None else training.images.get("train", {})
    return fit_in(images)


def fit_in(facts: Mapping[str, Any]) -> Fit | None:
    """Return the fit stored in the member `FIT`, or None."""
    return Fit.parse(str(facts.get(FIT) or ""))
