"""Thumbnails: the image made small, with its anomalies drawn in the colours of the mask."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageChops, ImageFilter

SIZE = 320
_MAX_PIXELS = 64_000_000  # four times the largest image that a model takes
_FILL_OPACITY = 90  # of 255
_QUALITY = 86


@dataclass(frozen=True)
class Thumbnail:
    """What was written: `marked` carries the anomalies, `plain` does not (None: nothing marked)."""

    marked: Path
    plain: Path | None
    width: int
    height: int


def make_thumbnail(
    data: bytes, mask_png: bytes | None, colors: Sequence[str], path: Path, *, size: int = SIZE
) -> Thumbnail | None:
    """Write ``path``.jpg, and ``path``-plain.jpg where anomalies are drawn over the picture.

    `colors` are those of the anomaly types (``#RRGGBB``); other colours of the mask are background.
    The picture is as the model saw it: EXIF orientation is not applied.  None when `data` is no
    picture that Pillow can read.  Raises `OSError` only when the files cannot be written.
    """
    picture = _open(data, size)
    if picture is None:
        return None
    picture.thumbnail((size, size), Image.Resampling.LANCZOS, reducing_gap=2.0)
    marked = _mark(picture, mask_png, colors)
    plain_path = None
    if marked is not None:
        plain_path = path.with_name(f"{path.name}-plain.jpg")
        picture.save(plain_path, quality=_QUALITY)
    marked_path = path.with_name(f"{path.name}.jpg")
    (marked or picture).save(marked_path, quality=_QUALITY)
    return Thumbnail(marked_path, plain_path, picture.width, picture.height)


def _open(data: bytes, size: int) -> Image.Image | None:
    """The picture as RGB, decoded small where the format can do that."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the size is judged here
            picture: Image.Image = Image.open(io.BytesIO(data))
            if picture.width * picture.height > _MAX_PIXELS:
                return None
            if picture.format == "JPEG":
                picture.draft("RGB", (2 * size, 2 * size))
            if picture.mode.startswith("I;16") or picture.mode in {"I", "F"}:
                picture = picture.convert("F").point(lambda value: value / 257.0).convert("L")
            elif picture.has_transparency_data:
                ground = Image.new("RGBA", picture.size, "white")
                picture = Image.alpha_composite(ground, picture.convert("RGBA"))
            return picture.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


def _mark(
    picture: Image.Image, mask_png: bytes | None, colors: Sequence[str]
) -> Image.Image | None:
    """`picture` with a tint and an outline for each colour that the mask holds; None: it holds
    none of them."""
    if not mask_png or not colors:
        return None
    try:
        mask = Image.open(io.BytesIO(mask_png)).convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    channels = mask.split()
    marked = None
    for color in dict.fromkeys(colors):
        rgb = _rgb(color)
        if rgb is None:
            continue
        area = _equal(channels, rgb)
        if area.getbbox() is None:
            continue
        # Averaging keeps a share of every thin scratch, which nearest neighbour would drop.
        small = area.resize(picture.size, Image.Resampling.BOX).point(_at_least(40))
        if small.getbbox() is None:
            small = area.resize(picture.size, Image.Resampling.BOX).point(_at_least(1))
        around = ImageChops.subtract(small.filter(ImageFilter.MaxFilter(3)), small)
        marked = marked or picture.copy()
        marked.paste(rgb, mask=small.point(lambda value: value * _FILL_OPACITY // 255))
        marked.paste(rgb, mask=around)
    return marked


def _equal(channels: Sequence[Image.Image], rgb: tuple[int, int, int]) -> Image.Image:
    """255 where all three channels have the colour's value."""
    planes = [
        channel.point([255 if value == wanted else 0 for value in range(256)])
        for channel, wanted in zip(channels, rgb, strict=True)
    ]
    return ImageChops.darker(ImageChops.darker(planes[0], planes[1]), planes[2])


def _at_least(limit: int) -> list[int]:
    return [255 if value >= limit else 0 for value in range(256)]


def _rgb(color: str) -> tuple[int, int, int] | None:
    digits = color.removeprefix("#")
    try:
        red, green, blue = bytes.fromhex(digits)
    except ValueError:
        return None
    return red, green, blue
