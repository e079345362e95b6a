"""Plans which views of the images to try."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lfv.engine.alignment import Aligner, deviation, fit_aligner
from lfv.engine.training.dataset import Dataset, load, load_labels
from lfv.engine.views import View, view_for

OVERVIEW_SIDE = 256
DETAIL_SIDES = (512, 1024, 2048)
#: Least ratio between the sizes of successive detail views.
CLOSER = 1.2
#: (longer side, stride) of the views for masks, the cheapest first.
PIXEL_VIEWS = ((384, 4), (384, 2), (768, 2))
#: Least width, in cells, of the narrowest annotated type.
CELLS_ACROSS = 1.5
#: Maximum number of cells of all images together for a finer view; about 1.7 GB while training.
CELL_BUDGET = 7e6
MASK_SAMPLE = 24
#: Longer side of the masks when they are measured.
MASK_SIDE = 1024
#: Maximum number of pixels of all images together for a detail view; about a minute of one core.
PIXEL_BUDGET = 300e6
#: Ratio by which alignment must lower the deviation between normal images to be used.
ALIGNMENT_GAIN = 1.25
ALIGNMENT_SAMPLE = 40


def overview_of(data: Dataset) -> View:
    """Return the small view that every model uses."""
    return view_for(data.width, data.height, OVERVIEW_SIDE, stride=4, levels=5, color=data.color)


def pixel_view_of(data: Dataset) -> View:
    """Return the view for masks: the cheapest whose cells are fine enough.

    A cell of which an anomaly covers only a small part cannot be assigned to it.
    """
    longer = max(data.width, data.height)

    def view(side: int, stride: int, levels: int) -> View:
        size = data.width, data.height
        return view_for(*size, side, stride=stride, levels=levels, color=data.color, whole=True)

    if longer <= OVERVIEW_SIDE:
        return view(OVERVIEW_SIDE, 2, 5)
    wanted = narrowest_width(data) / CELLS_ACROSS
    (side, stride), *finer = PIXEL_VIEWS
    chosen = view(side, stride, 6)
    for next_side, next_stride in finer:
        if stride * longer / min(side, longer) <= wanted:
            break
        side, stride = next_side, next_stride
        candidate = view(side, stride, 6)
        rows, columns = candidate.grid
        if rows * columns * len(data.images) > CELL_BUDGET:
            break
        chosen = candidate
    return chosen


def narrowest_width(data: Dataset) -> float:
    """Return the width, in pixels of the images, of the narrowest anomaly type in the masks.

    This is the median over up to ``MASK_SAMPLE`` masks; infinite if none shows anything. Inside a
    strip, the mean distance to its edge is a quarter of its width.
    """
    scale = min(1.0, MASK_SIDE / max(data.width, data.height))
    size = max(1, round(data.width * scale)), max(1, round(data.height * scale))
    widths: list[list[float]] = [[] for _ in data.anomaly_types]
    masked = [image for image in data.images if image.is_anomalous and image.mask_path is not None]
    for image in masked[:: max(1, -(-len(masked) // MASK_SAMPLE))]:
        labels = load_labels(image, data.type_names, size)
        for number, found in enumerate(widths, 1):
            painted = None if labels is None else _crop(labels == number)
            if painted is not None:
                inside = ndimage.distance_transform_edt(np.pad(painted, 1))[1:-1, 1:-1][painted]
                found.append(max(1.0, 4 * float(inside.mean()) - 2) / scale)
    return min((float(np.median(found)) for found in widths if found), default=np.inf)


def _crop(painted: NDArray[np.bool_]) -> NDArray[np.bool_] | None:
    """Crop to the non-empty part; None if all is empty."""
    rows, columns = np.flatnonzero(painted.any(axis=1)), np.flatnonzero(painted.any(axis=0))
    if not len(rows):
        return None
    return painted[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def details_of(data: Dataset) -> dict[str, View]:
    """Return larger views to try, the smallest first, up to the image's size or the budget."""
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
    """Return an aligner if it helps, and how much it lowers the deviation between normals.

    Uses up to ``ALIGNMENT_SAMPLE`` normal images.
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
