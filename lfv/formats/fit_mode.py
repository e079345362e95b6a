"""The ways to fit images to one size, in a module that `lfv --help` can import without Pillow."""

from __future__ import annotations

from enum import StrEnum


class FitMode(StrEnum):
    """How images of other sizes are fitted to a model's size."""

    #: Scale; refuse images whose aspect would change by more than `fit.MOST_STRETCH`.
    SCALE = "scale"
    #: Scale, regardless of the aspect.
    STRETCH = "stretch"
    #: Scale to cover the size, and keep the middle.
    CROP = "crop"
