"""Decodes PNG and JPEG files to the pixels that the engine works on.

Training and inference use the same code, so that models see the pixels they learned from. EXIF
orientation is not applied, because the API's width and height, and masks, refer to stored pixels.
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
from lfv.formats.deep_samples import deep_samples
from lfv.formats.images import (
    DEFAULT_LIMITS,
    ImageHeader,
    ImageLimits,
    check_header,
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
    """Pixels at the requested size, and facts about the file."""

    #: [height, width, 3], RGB.
    pixels: NDArray[np.uint8]
    #: Width of the stored image, before any scaling.
    width: int
    height: int
    exif_orientation: int


class Decoder:
    """Decodes a file at any number of sizes, reading its header once and its pixels once per scale.

    A JPEG is decoded at a reduced scale if the size allows it; a four-fold reduction costs a
    quarter of a full decode. 16-bit samples are scaled from ``sample_range`` to 8 bits, or without
    one keep their upper eight bits. Transparency is laid over black; CMYK and palettes become RGB.

    Args:
        body: A PNG or JPEG.
        expected: Refuse images of another (width, height).
        sample_range: Samples of 16-bit images that become black and white.

    Raises:
        ImageRejected: If the header shows that it cannot be used. Pixels are read when called.
    """

    def __init__(
        self,
        body: bytes,
        *,
        expected: tuple[int, int] | None = None,
        sample_range: tuple[int, int] | None = None,
    ) -> None:
        self._sample_range = sample_range
        self._by_scale: dict[int, Image.Image] = {}
        self._by_size: dict[tuple[int, int] | None, NDArray[np.uint8]] = {}
        try:
            self.header = check_header(body, _LIMITS, expected)
        except errors.ImageError as error:
            raise _to_rejection(error) from error

    def __call__(self, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
        """Return uint8 [height, width, 3] at ``size`` (width, height), or as stored.

        Raises:
            ImageRejected: The image cannot be used; the message says why.
        """
        if size not in self._by_size:
            self._by_size[size] = resize(self._decode(size), size)
        return self._by_size[size]

    def _decode(self, size: tuple[int, int] | None) -> Image.Image:
        scale = self._reduction(size)
        if scale not in self._by_scale:
            try:
                self._by_scale[scale] = self._rgb(size)
            except errors.ImageError as error:
                raise _to_rejection(error) from error
        return self._by_scale[scale]

    def _reduction(self, size: tuple[int, int] | None) -> int:
        """Return the reduction, 1, 2, 4 or 8, at which to decode for ``size``."""
        if size is None or self.header.format != "JPEG":
            return 1
        most = min(self.header.width // size[0], self.header.height // size[1])
        return next((scale for scale in (8, 4, 2) if most >= scale), 1)

    def _rgb(self, size: tuple[int, int] | None) -> Image.Image:
        if self._sample_range is not None:
            deep = deep_samples(self.header)
            if deep is not None:
                return _to_8_bits(deep, self._sample_range)
        return to_rgb(decode_pixels(self.header, size))


def decode(
    body: bytes,
    size: tuple[int, int] | None = None,
    *,
    sample_range: tuple[int, int] | None = None,
) -> DecodedImage:
    """Decode ``body`` at one ``size``; see :class:`Decoder`.

    Raises:
        ImageRejected: The image cannot be used; the message says why.
    """
    decoder = Decoder(body, sample_range=sample_range)
    header = decoder.header
    return DecodedImage(decoder(size), header.width, header.height, header.exif_orientation or 1)


def from_rgb888(
    pixels: bytes, width: int, height: int, size: tuple[int, int], *, expected: tuple[int, int]
) -> NDArray[np.uint8]:
    """Return [height, width, 3] at ``size`` of an image given as interleaved RGB pixels.

    Raises:
        ImageRejected: As in :func:`decode`.
    """
    if (width, height) != expected or len(pixels) != width * height * 3:
        raise ImageRejected(
            "image_dimensions_mismatch",
            f"The image is {width}x{height} pixels in {len(pixels):,} bytes; this model was "
            f"trained on {expected[0]}x{expected[1]}.",
        )
    return resize(Image.frombuffer("RGB", (width, height), pixels, "raw", "RGB", 0, 1), size)


def resize(rgb: Image.Image, size: tuple[int, int] | None) -> NDArray[np.uint8]:
    """Return [height, width, 3] of ``rgb`` at ``size`` (width, height); as it is if None."""
    if size is not None and rgb.size != size:
        shrinks = rgb.width >= 2 * size[0] and rgb.height >= 2 * size[1]
        rgb = rgb.resize(size, Image.Resampling.BOX if shrinks else Image.Resampling.BILINEAR)
    return np.asarray(rgb, dtype=np.uint8)


def measure(body: bytes) -> tuple[int, int, int]:
    """Read (width, height, EXIF orientation) from the header.

    Raises:
        ImageRejected: As in :func:`decode`, except for damage after the header.
    """
    try:
        header: ImageHeader = check_header(body, _LIMITS)
    except errors.ImageError as error:
        raise _to_rejection(error) from error
    return header.width, header.height, header.exif_orientation or 1


#: Every second pixel in each direction is used to determine a range.
_STEP = 2
#: Share of the range that is added at each end, for defects that training has not seen.
_MARGIN = 0.25
_LEAST_RANGE = 64


def sample_range_of(bodies: Iterable[bytes]) -> tuple[int, int] | None:
    """Return the range of the images' 16-bit samples, with a margin; None for 8-bit images.

    Cameras of 10 or 12 bits, and thermal ones, use a small part of 16 bits. The extreme thousandth
    at each end, such as dead pixels, is ignored.

    Raises:
        ImageRejected: For the first image that cannot be decoded.
    """
    lowest, highest = 65536.0, -1.0
    for body in bodies:
        try:
            samples = deep_samples(check_header(body, _LIMITS))
        except errors.ImageError as error:
            raise _to_rejection(error) from error
        if samples is not None:
            low, high = np.percentile(samples[::_STEP, ::_STEP], (0.1, 99.9))
            lowest, highest = min(lowest, float(low)), max(highest, float(high))
    if highest < lowest:
        return None
    margin = max(_LEAST_RANGE, highest - lowest) * _MARGIN
    return max(0, int(lowest - margin)), min(65535, int(np.ceil(highest + margin)))


def _to_8_bits(samples: NDArray[np.uint16], sample_range: tuple[int, int]) -> Image.Image:
    low, high = sample_range
    levels = (samples.astype(np.float32) - low) * (255.0 / max(1, high - low))
    return Image.fromarray(levels.round().clip(0, 255).astype(np.uint8)).convert("RGB")


def _to_rejection(error: errors.ImageError) -> ImageRejected:
    return ImageRejected(_REASONS.get(type(error), "truncated"), str(error))


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert any Pillow mode of a PNG or JPEG to 8-bit RGB."""
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
