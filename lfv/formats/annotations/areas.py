"""Annotated images, and masks drawn from their areas."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from lfv.formats.errors import AnnotationsInvalid
from lfv.formats.images import DEFAULT_LIMITS, encoded
from lfv.formats.words import count_of

#: Type of anomalies that the annotations do not name.
UNNAMED = "defect"
Points = tuple[tuple[float, float], ...]

_PALETTE = (
    *("#1F77B4", "#FF7F0E", "#2CA02C", "#D62728", "#9467BD"),
    *("#8C564B", "#E377C2", "#7F7F7F", "#BCBD22", "#17BECF"),
    *("#00429D", "#B35900", "#00642B", "#8B0000", "#4B2E83"),
    *("#5C3A21", "#99006B", "#404040", "#6B6B00", "#006D75"),
)


@dataclass(frozen=True)
class Area:
    """An anomaly's area in an image, as polygons, runs of pixels or a box.

    Attributes:
        anomaly_type: The type of the anomaly.
        polygons: Outlines of (x, y) in pixels; the area is their union.
        runs: COCO's run-length encoding: lengths down the columns from the left, starting with
            pixels outside the area.
        box: Left, top, width and height in pixels.
    """

    anomaly_type: str
    polygons: tuple[Points, ...] = ()
    runs: tuple[int, ...] = ()
    box: tuple[float, float, float, float] | None = None

    @property
    def is_outline(self) -> bool:
        """Whether the area is more exact than a bounding box."""
        return bool(self.polygons or self.runs)


@dataclass(frozen=True)
class AnnotatedImage:
    """An image in an annotation file; `name` is its path there.

    `size` is (width, height) in pixels, None if the file does not state it. An image without areas
    is normal.
    """

    name: str
    size: tuple[int, int] | None
    areas: tuple[Area, ...] = ()


def mask_colors(types: Sequence[str]) -> dict[str, str]:
    """Assign a colour ('#RRGGBB') to each anomaly type; return the types by colour.

    Raises AnnotationsInvalid for more types than Lookout for Vision allows in one mask.
    """
    if len(types) > len(_PALETTE):
        raise AnnotationsInvalid(
            f"The annotations have {count_of(len(types), 'anomaly type')}; a mask can have at most "
            f"{len(_PALETTE)}. Merge some of them."
        )
    return dict(zip(_PALETTE, types, strict=False))


def draw_mask(image: AnnotatedImage, colors: dict[str, str], *, boxes: bool = False) -> bytes:
    """Draw an image's areas on white, large ones first so that they do not hide small ones.

    Args:
        image: An image with a known size.
        colors: The colours from `mask_colors`.
        boxes: Also draw areas that are only bounding boxes.

    Returns:
        A PNG.

    Raises:
        AnnotationsInvalid: The image's size is unknown or too large, or an area does not fit it.
    """
    if image.size is None:
        raise AnnotationsInvalid(f"The size of {image.name} is unknown.")
    width, height = image.size
    if not (0 < width <= DEFAULT_LIMITS.max_side and 0 < height <= DEFAULT_LIMITS.max_side):
        raise AnnotationsInvalid(f"{image.name} has an invalid size: {width}x{height} pixels.")
    by_type = {name: color for color, name in colors.items()}
    drawn = [
        (_fill(area, width, height), by_type[area.anomaly_type])
        for area in image.areas
        if area.is_outline or boxes
    ]
    canvas = np.full((height, width, 3), 255, np.uint8)
    for area, color in sorted(drawn, key=lambda one: -int(one[0].sum())):
        canvas[area] = tuple(int(color[at : at + 2], 16) for at in (1, 3, 5))
    return encoded(Image.fromarray(canvas), "PNG")


def _fill(area: Area, width: int, height: int) -> npt.NDArray[np.bool_]:
    """Return which pixels belong to the area, as (height, width)."""
    if area.runs:
        if sum(area.runs) != width * height:
            raise AnnotationsInvalid(
                f"A run-length encoded area covers {sum(area.runs):,} pixels, but its image has "
                f"{width * height:,}."
            )
        inside = np.arange(len(area.runs)) % 2 == 1
        return np.repeat(inside, area.runs).reshape(width, height).T
    canvas = Image.new("1", (width, height))
    pen = ImageDraw.Draw(canvas)
    for outline in area.polygons:
        pen.polygon([*map(_pixel, outline)], fill=1)
    if not area.polygons and area.box is not None:
        left, top, wide, high = area.box
        corner = (left + max(wide - 1, 0), top + max(high - 1, 0))
        pen.rectangle([_pixel((left, top)), _pixel(corner)], fill=1)
    return np.asarray(canvas, bool)


def _pixel(point: tuple[float, float]) -> tuple[int, int]:
    x, y = point
    if not (math.isfinite(x) and math.isfinite(y)):
        raise AnnotationsInvalid("A polygon has a point whose coordinates are not finite numbers.")
    limit = 4 * DEFAULT_LIMITS.max_side
    return round(min(max(x, -limit), limit)), round(min(max(y, -limit), limit))
