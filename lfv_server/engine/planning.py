"""Which views of the images to try."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lfv_server.engine.alignment import Aligner, deviation, fit_aligner
from lfv_server.engine.dataset import Dataset, load
from lfv_server.engine.views import View, view_for

OVERVIEW_SIDE = 256
DETAIL_SIDES = (512, 1024, 2048)
CLOSER = 1.2
"""Ratio by which a detail view must be larger than the one before to be worth trying."""
PIXEL_SIDE = 384
PIXEL_BUDGET = 300e6
"""Pixels of all images together that a detail view may cost: about a minute of one core."""
ALIGNMENT_GAIN = 1.25
"""Ratio by which alignment must lower the deviation between normal images to be used."""
ALIGNMENT_SAMPLE = 40


def overview_of(data: Dataset) -> View:
    """The small view that every model starts from."""
    return view_for(data.width, data.height, OVERVIEW_SIDE, stride=4, levels=5, color=data.color)


def pixel_view_of(data: Dataset) -> View:
    """The view that masks are learned at."""
    small = max(data.width, data.height) <= OVERVIEW_SIDE
    return view_for(
        data.width,
        data.height,
        PIXEL_SIDE,
        stride=2 if small else 4,
        levels=5 if small else 6,
        color=data.color,
        whole=True,
    )


def details_of(data: Dataset) -> dict[str, View]:
    """Larger views worth trying, smallest first: up to the image's own size or the budget."""
    longer = max(data.width, data.height)
    views: dict[str, View] = {}
    for side in DETAIL_SIDES:
        if longer <= OVERVIEW_SIDE or (views and longer < CLOSER * side / 2):
            break
        used = min(side, longer)
        area = data.width * data.height * (used / longer) ** 2
        if views and area * len(data.images) > PIXEL_BUDGET:
            break
        views[f"detail-{used}"] = view_for(
            data.width, data.height, used, stride=4, levels=6, color=data.color
        )
    return views


def choose_aligner(data: Dataset, view: View) -> tuple[Aligner | None, float]:
    """An aligner where it pays, and by how much it lowers the deviation between normals.

    Uses up to ``ALIGNMENT_SAMPLE`` normal images and no other labels.
    """
    normals = [image for image in data.images if not image.is_anomalous]
    step = max(1, len(normals) // ALIGNMENT_SAMPLE)
    sample: list[NDArray[np.uint8]] = [
        load(image, view.size).pixels for image in normals[::step][:ALIGNMENT_SAMPLE]
    ]
    aligner = fit_aligner(sample)
    gain = _gain(sample, aligner)
    return (aligner if gain >= ALIGNMENT_GAIN else None), gain


def _gain(sample: Sequence[NDArray[np.uint8]], aligner: Aligner) -> float:
    after = deviation([aligner(pixels) for pixels in sample])
    return deviation(list(sample)) / max(after, 1e-6)
