"""Is this an image that the service can take? Decided by its content, never by its name.

Limits are Lookout for Vision's (developer guide, "Quotas"): PNG or JPEG, 64 to 4096 pixels a
side, 8 MB. The order of the checks is the order of their cost: bytes, signature, headers,
dimensions, and only then are the pixels decoded, so that no image can claim more memory than its
checked dimensions need.

Safe to call from many threads; changes and reads no process-wide setting.
"""

from __future__ import annotations

import hashlib
import io
import struct
import zlib
from dataclasses import dataclass

from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from lfv.formats.errors import (
    ImageDamaged,
    ImageDimensionsMismatch,
    ImageDimensionsTooLarge,
    ImageEmpty,
    ImageFormatUnsupported,
    ImageTooLarge,
    ImageTooSmall,
    ImageTruncated,
)
from lfv.formats.image_headers import ImageHeader, check_png_pixels, read_jpeg, read_png, sniff

CONTENT_TYPES = {"PNG": "image/png", "JPEG": "image/jpeg"}


@dataclass(frozen=True)
class ImageLimits:
    """Bounds, both ends included: bytes of the file, pixels a side."""

    max_bytes: int = 8 * 1024 * 1024
    min_side: int = 64
    max_side: int = 4096


DEFAULT_LIMITS = ImageLimits()


@dataclass(frozen=True)
class ImageInfo:
    """Facts about an image that passed every check.

    `width` and `height` are pixels as stored, which is what a model sees: `exif_orientation`
    (1 to 8, None when the file carries none) is reported and never applied. `mode` is Pillow's
    name of the pixel format ('L', 'P', 'RGB', 'RGBA', 'CMYK', 'I;16' ...), `bits` the bits per
    sample in the file. `sha256` is the digest of the bytes, in hex.
    """

    format: str
    content_type: str
    width: int
    height: int
    mode: str
    bits: int
    size_bytes: int
    sha256: str
    exif_orientation: int | None


def check_image(
    data: bytes,
    limits: ImageLimits = DEFAULT_LIMITS,
    expected: tuple[int, int] | None = None,
) -> ImageInfo:
    """Check `data` and say what it is.

    `expected` is the (width, height) that the model was trained on, where it is known.
    Raises one of the subclasses of ImageError; see `lfv.client.errors`.
    """
    if not data:
        raise ImageEmpty("The image file is empty.")
    if len(data) > limits.max_bytes:
        raise ImageTooLarge(
            f"The image has {len(data):,} bytes; the service takes {limits.max_bytes:,} at most."
        )
    header = _read_header(data)
    _check_dimensions(header.width, header.height, limits, expected)
    return ImageInfo(
        format=header.format,
        content_type=CONTENT_TYPES[header.format],
        width=header.width,
        height=header.height,
        mode=_decode(header),
        bits=header.bits,
        size_bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        exif_orientation=header.exif_orientation,
    )


def _read_header(data: bytes) -> ImageHeader:
    found = sniff(data)
    if found == "PNG":
        return read_png(data)
    if found == "JPEG":
        return read_jpeg(data)
    what = f"a {found} file" if found else "no image format that is known here"
    raise ImageFormatUnsupported(f"The file is {what}; the service takes PNG and JPEG.")


def _check_dimensions(
    width: int, height: int, limits: ImageLimits, expected: tuple[int, int] | None
) -> None:
    if min(width, height) < limits.min_side:
        raise ImageTooSmall(
            f"The image is {width}x{height} pixels; "
            f"the service takes {limits.min_side}x{limits.min_side} at least."
        )
    if max(width, height) > limits.max_side:
        raise ImageDimensionsTooLarge(
            f"The image is {width}x{height} pixels; "
            f"the service takes {limits.max_side}x{limits.max_side} at most."
        )
    if expected is not None and (width, height) != expected:
        raise ImageDimensionsMismatch(
            f"The image is {width}x{height} pixels; "
            f"the model was trained on {expected[0]}x{expected[1]}."
        )


def _decode(header: ImageHeader) -> str:
    """Decode every pixel and throw them away; the pixel format's name.

    The plugin classes are used directly: `Image.open` would warn about large images and
    initialise Pillow's process-wide registry.
    """
    if header.format == "PNG":
        check_png_pixels(header)
    try:
        if header.format == "PNG":
            with PngImageFile(io.BytesIO(header.pixel_data)) as png:
                mode = png.mode
                png.load()
        else:
            with JpegImageFile(io.BytesIO(header.pixel_data)) as jpeg:
                mode = jpeg.mode
                # All of the compressed data is read, but an eighth of the size is reconstructed.
                jpeg.draft("L", (header.width // 8, header.height // 8))
                jpeg.load()
    except (
        OSError,
        SyntaxError,
        ValueError,
        IndexError,
        KeyError,
        TypeError,
        EOFError,
        struct.error,
        zlib.error,
    ) as error:  # what Pillow's plugins raise
        if "truncated" in str(error):
            raise ImageTruncated(
                f"The {header.format} is truncated: some of its pixel data is missing."
            ) from error
        raise ImageDamaged(
            f"The {header.format} is damaged: its pixel data cannot be decoded."
        ) from error
    return mode
