"""The ways to bring images to one size; apart from `fit`, so that `lfv --help` loads no Pillow."""

from __future__ import annotations

from enum import StrEnum


class FitMode(StrEnum):
    """How images of other sizes are brought to a model's."""

    SCALE = "scale"
    """Scaled; refused where that would change the aspect by more than `fit.MOST_STRETCH`."""
    STRETCH = "stretch"
    """Scaled, whatever becomes of the aspect."""
    CROP = "crop"
    """Scaled until it covers the size, and cut to the middle."""
