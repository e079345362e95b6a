"""Marks: the anomaly types of a mask, drawn so that they are legible on any image.

Each type is filled with its own colour, lightly, and outlined in it. A dark and a light line around
the outline keep it apart from whatever lies below, also from a background of the same colour.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterable, Sequence

from PIL import Image, ImageChops, ImageFilter

from lfv.report.figures import color as checked_color

#: Four times the largest image that a model takes.
MAX_PIXELS = 64_000_000
_FILL = 96  # of 255
_HEAT = 0.65  # of the level: the picture stays visible below the hottest place
_LIGHT, _DARK = (255, 255, 255, 235), (0, 0, 0, 235)
#: Of 255, the share of a pixel that a type must cover to be filled after scaling.
_COVERED = 40


def open_picture(data: bytes, size: int | None = None) -> Image.Image | None:
    """Return the image as RGB, decoded near `size` where the format can; None if unreadable.

    The picture is as the model saw it: its EXIF orientation is not applied.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the size is checked here
            picture: Image.Image = Image.open(io.BytesIO(data))
            if picture.width * picture.height > MAX_PIXELS:
                return None
            if picture.format == "JPEG" and size is not None:
                picture.draft("RGB", (2 * size, 2 * size))
            if picture.mode.startswith("I;16") or picture.mode in {"I", "F"}:
                picture = picture.convert("F").point(lambda value: value / 257.0).convert("L")
            elif picture.has_transparency_data:
                ground = Image.new("RGBA", picture.size, "white")
                picture = Image.alpha_composite(ground, picture.convert("RGBA"))
            return picture.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


def draw_marks(
    mask_png: bytes | None, colors: Iterable[str | None], size: tuple[int, int], line: int = 1
) -> Image.Image | None:
    """Return a transparent layer of `size` with the marks, None if there is nothing to mark.

    `colors` are those of the anomaly types (``#RRGGBB``); other colours of the mask are background.
    `line` is the width of the outline in pixels.
    """
    known = [one for one in dict.fromkeys(colors) if checked_color(one)]
    if not mask_png or not known:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            mask = Image.open(io.BytesIO(mask_png))
            if mask.width * mask.height > MAX_PIXELS:
                return None
            channels = mask.convert("RGB").split()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    shapes = []
    for color in known:
        rgb = tuple(bytes.fromhex(str(color)[1:]))
        shape = _scale(_equal(channels, rgb), size)
        if shape is not None:
            shapes.append((rgb, shape))
    if not shapes:
        return None
    layer = Image.new("RGBA", size)
    for rgb, shape in shapes:
        layer.paste((*rgb, _FILL), mask=shape)
    for _, shape in shapes:
        outer = _dilate(shape, 2 * line)
        layer.paste(_LIGHT, mask=ImageChops.subtract(_dilate(outer, line), outer))
        layer.paste(_DARK, mask=ImageChops.subtract(outer, _dilate(shape, line)))
    for rgb, shape in shapes:
        layer.paste((*rgb, 255), mask=ImageChops.subtract(_dilate(shape, line), shape))
    return layer


def draw_heat(heat_png: bytes | None, size: tuple[int, int]) -> Image.Image | None:
    """Return a transparent layer of `size`, yellow to red where a heat map is bright.

    Dark places stay clear. None if there is no heat map, or it is unreadable.
    """
    if not heat_png:
        return None
    heat = open_picture(heat_png)
    if heat is None:
        return None
    levels = heat.convert("L").resize(size, Image.Resampling.BICUBIC)
    layer = Image.merge(
        "RGB",
        (
            levels.point([255] * 256),
            levels.point([max(0, 255 - level) for level in range(256)]),
            levels.point([0] * 256),
        ),
    ).convert("RGBA")
    layer.putalpha(levels.point([round(level * _HEAT) for level in range(256)]))
    return layer


def _equal(channels: Sequence[Image.Image], rgb: Sequence[int]) -> Image.Image:
    """Return a mask: 255 where all three channels have the colour's value."""
    planes = [
        channel.point([255 if value == wanted else 0 for value in range(256)])
        for channel, wanted in zip(channels, rgb, strict=True)
    ]
    return ImageChops.darker(ImageChops.darker(planes[0], planes[1]), planes[2])


def _scale(area: Image.Image, size: tuple[int, int]) -> Image.Image | None:
    """Scale the area to another size; return None if it is empty."""
    if area.getbbox() is None:
        return None
    # Averaging keeps a share of every thin scratch, which nearest neighbour would drop.
    share = area.resize(size, Image.Resampling.BOX)
    shape = share.point(_at_least(_COVERED))
    return shape if shape.getbbox() is not None else share.point(_at_least(1))


def _dilate(shape: Image.Image, by: int) -> Image.Image:
    for _ in range(by):
        shape = shape.filter(ImageFilter.MaxFilter(3))
    return shape


def _at_least(limit: int) -> list[int]:
    return [255 if value >= limit else 0 for value in range(256)]
