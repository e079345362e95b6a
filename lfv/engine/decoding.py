"""From the bytes of a PNG or JPEG to the pixels the engine computes on.

One path for training and for inference: what the heads learn from is what they are later shown.
Orientation flags of EXIF are not applied: the API's width and height are those of the stored
pixels, and so are the masks'.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lfv.engine.errors import ImageRejected
from lfv.formats import errors
from lfv.formats.images import (
    DEFAULT_LIMITS,
    ImageHeader,
    ImageLimits,
    check_header,
    deep_samples,
)
from lfv.formats.images import decode as decode_pixels

MIN_SIDE = DEFAULT_LIMITS.min_side
MAX_SIDE = DEFAULT_LIMITS.max_side

_LIMITS = ImageLimits(sys.maxsize, MIN_SIDE, MAX_SIDE)
_REASONS: dict[type[errors.ImageError], str] = {
    errors.ImageEmpty: "not_an_image",
    errors.ImageFormatUnsupported: "not_an_image",
    errors.ImageEncodingUnsupported: "format",
    errors.ImageAnimated: "animated",
    errors.ImageMultiPicture: "animated",
    errors.ImageTooSmall: "too_small",
    errors.ImageDimensionsTooLarge: "too_large",
    errors.ImageDimensionsMismatch: "dimensions",
}


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
    sample_range: tuple[int, int] | None = None,
) -> DecodedImage:
    """Decode ``body``, scaled to ``size`` (width, height) when given.

    A JPEG is decoded at a reduced scale where the target allows it, which costs a quarter of a
    full decode for a four-fold reduction.  16-bit samples are scaled from
    ``sample_range`` to 8 bits, or keep their upper eight bits without one; transparency is laid
    over black; CMYK and palettes become RGB.

    :param expected: refuse images of another (width, height).
    :raises ImageRejected: naming what is wrong with the image.
    """
    try:
        header = check_header(body, _LIMITS, expected)
        deep = deep_samples(header) if sample_range is not None else None
        if deep is not None and sample_range is not None:
            rgb = _scaled_to(deep, sample_range)
        else:
            rgb = to_rgb(decode_pixels(header, size))
    except errors.ImageError as error:
        raise _rejected(error) from error
    pixels = _scaled(rgb, size)
    return DecodedImage(pixels, header.width, header.height, header.exif_orientation or 1)


def from_rgb888(
    pixels: bytes, width: int, height: int, size: tuple[int, int], *, expected: tuple[int, int]
) -> NDArray[np.uint8]:
    """[height, width, 3] at ``size`` of an image that comes as interleaved RGB pixels.

    :raises ImageRejected: as :func:`decode` does.
    """
    if (width, height) != expected or len(pixels) != width * height * 3:
        raise ImageRejected(
            "image_dimensions_mismatch",
            f"The image is {width}x{height} pixels in {len(pixels):,} bytes; this model was "
            f"trained on {expected[0]}x{expected[1]}.",
        )
    return _scaled(Image.frombuffer("RGB", (width, height), pixels, "raw", "RGB", 0, 1), size)


def _scaled(rgb: Image.Image, size: tuple[int, int] | None) -> NDArray[np.uint8]:
    if size is not None and rgb.size != size:
        rgb = rgb.resize(size, Image.Resampling.BOX if _shrinks(rgb, size) else _ENLARGE)
    return np.asarray(rgb, dtype=np.uint8)


def measure(body: bytes) -> tuple[int, int, int]:
    """(width, height, EXIF orientation) from the header alone.

    :raises ImageRejected: as :func:`decode` does, but for damage further on.
    """
    try:
        header: ImageHeader = check_header(body, _LIMITS)
    except errors.ImageError as error:
        raise _rejected(error) from error
    return header.width, header.height, header.exif_orientation or 1


_ENLARGE = Image.Resampling.BILINEAR
_STEP = 2  # of the pixels that a range is taken from, each way
_MARGIN = 0.25  # of the range, left at each end for defects that training has not seen
_LEAST_RANGE = 64


def sample_range_of(bodies: Iterable[bytes]) -> tuple[int, int] | None:
    """The range that the 16-bit samples of images fill, with a margin; None for 8-bit images.

    Cameras of 10 or 12 bits, and thermal ones, fill a small part of 16. The extreme thousandth at
    each end, such as dead pixels, does not count.

    Raises:
        ImageRejected: For the first image that cannot be decoded.
    """
    lowest, highest = 65536.0, -1.0
    for body in bodies:
        try:
            samples = deep_samples(check_header(body, _LIMITS))
        except errors.ImageError as error:
            raise _rejected(error) from error
        if samples is not None:
            low, high = np.percentile(samples[::_STEP, ::_STEP], (0.1, 99.9))
            lowest, highest = min(lowest, float(low)), max(highest, float(high))
    if highest < lowest:
        return None
    margin = max(_LEAST_RANGE, highest - lowest) * _MARGIN
    return max(0, int(lowest - margin)), min(65535, int(np.ceil(highest + margin)))


def _scaled_to(samples: NDArray[np.uint16], sample_range: tuple[int, int]) -> Image.Image:
    low, high = sample_range
    levels = (samples.astype(np.float32) - low) * (255.0 / max(1, high - low))
    return Image.fromarray(levels.round().clip(0, 255).astype(np.uint8)).convert("RGB")


def _shrinks(image: Image.Image, size: tuple[int, int]) -> bool:
    return image.width >= 2 * size[0] and image.height >= 2 * size[1]


def _rejected(error: errors.ImageError) -> ImageRejected:
    return ImageRejected(_REASONS.get(type(error), "truncated"), str(error))


def to_rgb(image: Image.Image) -> Image.Image:
    """Any Pillow mode a PNG or JPEG can have, as 8-bit RGB."""
    if image.mode == "RGB":
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
