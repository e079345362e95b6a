"""The ways to fit images to one size, in a module that `lfv --help` can import without Pillow."""

from __future__ import annotations

from enum import StrEnum


class FitMode(StrEnum):
    """How images of other sizes are fitted to a model's size."""

    SCALE = "scale"
    """Scale; refuse images whose aspect would change by more than `fit.MOST_STRETCH`."""
    STRETCH = "stretch"
    """Scale, regardless of the aspect."""
    CROP = "crop"
    """Scale to cover the size, and keep the middle."""
