"""Charts and contact sheets with Pillow alone: no plotting library in the install."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

INK = (40, 40, 40)
GRID = (225, 225, 225)
FRAME = (150, 150, 150)
COLORS = ((31, 99, 181), (204, 82, 32), (44, 140, 66), (128, 78, 160))
RIGHT, WRONG = (44, 140, 66), (200, 40, 40)
_MARGIN = 56
_SIDE = 360


@dataclass(frozen=True)
class Line:
    """One curve of a chart."""

    label: str
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    markers: bool = False


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def chart(
    title: str, x_label: str, y_label: str, lines: Sequence[Line], *, diagonal: bool = False
) -> Image.Image:
    """A square chart over the unit square."""
    image = Image.new("RGB", (_SIDE + 2 * _MARGIN, _SIDE + 2 * _MARGIN), "white")
    draw = ImageDraw.Draw(image)
    small, large = _font(12), _font(15)

    def at(x: float, y: float) -> tuple[float, float]:
        return _MARGIN + x * _SIDE, _MARGIN + (1 - y) * _SIDE

    for tick in np.linspace(0, 1, 6):
        draw.line([at(tick, 0), at(tick, 1)], fill=GRID)
        draw.line([at(0, tick), at(1, tick)], fill=GRID)
        left, top = at(tick, 0)
        draw.text((left, top + 4), f"{tick:.1f}", fill=INK, font=small, anchor="ma")
        left, top = at(0, tick)
        draw.text((left - 6, top), f"{tick:.1f}", fill=INK, font=small, anchor="rm")
    if diagonal:
        draw.line([at(0, 0), at(1, 1)], fill=FRAME)
    draw.rectangle([at(0, 1), at(1, 0)], outline=FRAME)
    for number, line in enumerate(lines):
        color = COLORS[number % len(COLORS)]
        points = [at(float(a), float(b)) for a, b in zip(line.x, line.y, strict=True)]
        if len(points) > 1:
            draw.line(points, fill=color, width=3, joint="curve")
        if line.markers:
            for left, top in points:
                draw.ellipse([left - 4, top - 4, left + 4, top + 4], fill=color)
        left, top = at(0.03, 0.22 - 0.055 * number)
        draw.rectangle([left, top, left + 12, top + 12], fill=color)
        draw.text((left + 18, top - 2), line.label, fill=INK, font=small)
    draw.text((image.width / 2, 24), title, fill=INK, font=large, anchor="mm")
    draw.text((image.width / 2, image.height - 14), x_label, fill=INK, font=small, anchor="mm")
    turned = Image.new("RGB", (_SIDE, 18), "white")
    ImageDraw.Draw(turned).text((_SIDE / 2, 9), y_label, fill=INK, font=small, anchor="mm")
    image.paste(turned.rotate(90, expand=True), (6, _MARGIN))
    return image


def strip(
    title: str, groups: Sequence[tuple[str, NDArray[np.float64]]], threshold: float
) -> Image.Image:
    """Every image's probability as a tick, one row per class, the threshold as a line."""
    width, row = 620, 56
    image = Image.new("RGB", (width + 2 * _MARGIN, row * len(groups) + 90), "white")
    draw = ImageDraw.Draw(image)
    small = _font(12)
    draw.text((image.width / 2, 22), title, fill=INK, font=_font(15), anchor="mm")
    bottom = 44 + row * len(groups)
    for number, (label, values) in enumerate(groups):
        top = 44 + row * number
        draw.text((_MARGIN, top), f"{label} ({len(values)})", fill=INK, font=small)
        for value in values:
            x = _MARGIN + float(value) * width
            draw.line([(x, top + 18), (x, top + 44)], fill=COLORS[number % len(COLORS)], width=2)
    x = _MARGIN + threshold * width
    draw.line([(x, 40), (x, bottom)], fill=INK)
    for tick in np.linspace(0, 1, 11):
        draw.text(
            (_MARGIN + tick * width, bottom + 6), f"{tick:.1f}", fill=INK, font=small, anchor="ma"
        )
    draw.text(
        (image.width / 2, bottom + 32),
        f"probability of anomaly; called anomalous from {threshold:.2f}",
        fill=INK,
        font=small,
        anchor="mm",
    )
    return image


def thumbnail(
    pixels: NDArray[np.uint8], correct: bool, mask: NDArray[np.bool_] | None = None
) -> Image.Image:
    """An image at 240 pixels, framed in green or red, a mask's outline in magenta."""
    image = Image.fromarray(pixels)
    image.thumbnail((240, 240))
    if mask is not None:
        small = np.asarray(Image.fromarray(mask).resize(image.size, Image.Resampling.NEAREST))
        inner = small.copy()
        for axis in (0, 1):
            for step in (-1, 1):
                inner &= np.roll(small, step, axis=axis)
        shown = np.asarray(image).copy()
        shown[small & ~inner] = (255, 0, 255)
        image = Image.fromarray(shown)
    framed = Image.new("RGB", (image.width + 8, image.height + 8), RIGHT if correct else WRONG)
    framed.paste(image, (4, 4))
    return framed
