"""From the bytes of a PNG or JPEG to the pixels the engine computes on.

One path for training and for inference: what the heads learn from is what they are later shown.
Orientation flags of EXIF are not applied: the API's width and height are those of the stored
pixels, and so are the masks'.
"""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from lfv.engine.errors import ImageRejected

MIN_SIDE = 64
"""Pixels; smallest width or height of an image (Lookout for Vision quota)."""
MAX_SIDE = 4096
"""Pixels; largest width or height of an image (Lookout for Vision quota)."""

_FORMATS = ("PNG", "JPEG")
_ORIENTATION_TAG = 0x0112


@dataclass(frozen=True)
class DecodedImage:
    """Pixels at the size asked for, and facts about the file."""

    pixels: NDArray[np.uint8]
    """[height, width, 3], RGB."""
    width: int
    """Of the stored image, before any scaling."""
    height: int
    exif_orientation: int


def decode(
    body: bytes,
    size: tuple[int, int] | None = None,
    *,
    expected: tuple[int, int] | None = None,
) -> DecodedImage:
    """Decode ``body``, scaled to ``size`` (width, height) when given.

    A JPEG is decoded at a reduced scale where the target allows it (``draft``), which costs a
    quarter of a full decode for a four-fold reduction.  16-bit samples keep their upper eight
    bits, transparency is laid over black, CMYK and palettes become RGB.

    :param expected: refuse images of another (width, height).
    :raises ImageRejected: naming what is wrong with the image.
    """
    image, width, height, orientation = _open(body)
    if expected is not None and (width, height) != expected:
        raise ImageRejected(
            "dimensions",
            f"The image is {width}x{height} pixels; this model was trained on "
            f"{expected[0]}x{expected[1]}.",
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if size is not None and image.format == "JPEG":
                image.draft("RGB", size)
            rgb = to_rgb(image)
    except (OSError, SyntaxError, ValueError, EOFError, IndexError) as error:
        raise ImageRejected("truncated", f"The image cannot be decoded: {error}.") from error
    if size is not None and rgb.size != size:
        rgb = rgb.resize(size, Image.Resampling.BOX if _shrinks(rgb, size) else _ENLARGE)
    return DecodedImage(np.asarray(rgb, dtype=np.uint8), width, height, orientation)


def measure(body: bytes) -> tuple[int, int, int]:
    """(width, height, EXIF orientation) from the header alone.

    :raises ImageRejected: as :func:`decode` does, but for damage further on.
    """
    _, width, height, orientation = _open(body)
    return width, height, orientation


_ENLARGE = Image.Resampling.BILINEAR


def _shrinks(image: Image.Image, size: tuple[int, int]) -> bool:
    return image.width >= 2 * size[0] and image.height >= 2 * size[1]


def _open(body: bytes) -> tuple[Image.Image, int, int, int]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a large image is measured below, not warned about
            image = Image.open(io.BytesIO(body), formats=_FORMATS)
    except UnidentifiedImageError as error:
        raise ImageRejected("not_an_image", "The bytes are neither a PNG nor a JPEG.") from error
    except Image.DecompressionBombError as error:
        raise ImageRejected("too_large", "The image is far larger than 4096x4096.") from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise ImageRejected("truncated", f"The image's header is damaged: {error}.") from error
    width, height = image.size
    if width < MIN_SIDE or height < MIN_SIDE:
        raise ImageRejected(
            "too_small", f"The image is {width}x{height} pixels; the least is 64x64."
        )
    if width > MAX_SIDE or height > MAX_SIDE:
        raise ImageRejected(
            "too_large", f"The image is {width}x{height} pixels; the most is 4096x4096."
        )
    if getattr(image, "is_animated", False):
        raise ImageRejected("animated", "The image has several frames.")
    try:
        orientation = int(image.getexif().get(_ORIENTATION_TAG, 1))
    except Exception:  # noqa: BLE001 - EXIF parsers raise anything; a bad tag is no tag
        orientation = 1
    return image, width, height, orientation


def to_rgb(image: Image.Image) -> Image.Image:
    """Any Pillow mode a PNG or JPEG can have, as 8-bit RGB."""
    if image.mode == "RGB":
        image.load()
        return image
    if image.mode.startswith("I") or image.mode == "F":
        samples = np.asarray(image)
        if samples.dtype == np.uint16 or samples.max(initial=0) > 255:
            samples = samples.astype(np.uint32) >> 8
        return Image.fromarray(samples.astype(np.uint8), "L").convert("RGB")
    if image.mode in {"RGBA", "LA", "PA"} or "transparency" in image.info:
        rgba = image.convert("RGBA")
        ground = Image.new("RGBA", rgba.size, (0, 0, 0, 255))
        return Image.alpha_composite(ground, rgba).convert("RGB")
    return image.convert("RGB")
