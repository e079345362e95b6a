"""Checks whether the service accepts an image, by its content and never by its name.

The limits are Lookout for Vision's (developer guide, "Quotas"): PNG or JPEG, 64 to 4096 pixels a
side, 8 MB. Checks run in order of cost: bytes, signature, container, dimensions. Only then are the
pixels decoded, so that an image cannot use more memory than its checked dimensions need. The
pipeline, the service and the engine all use these checks.
"""

from __future__ import annotations

import hashlib
import io
import re
import struct
import zlib
from dataclasses import dataclass
from typing import Any, Literal

from PIL import Image
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
from lfv.formats.image_headers import (
    CONVERTIBLE,
    LFS_POINTER,
    Container,
    check_png_pixels,
    read_jpeg,
    read_png,
    sniff,
)

#: Attribute of a converted image that says what it was before, and what was done.
CONVERTED_FROM = "converted-from"
CONTENT_TYPES = {"PNG": "image/png", "JPEG": "image/jpeg"}
ENDINGS = {"PNG": ".png", "JPEG": ".jpg"}

# Errors that Pillow's plugins raise for damaged files.
_PILLOW_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    IndexError,
    KeyError,
    TypeError,
    EOFError,
    struct.error,
    zlib.error,
)
_WITH_AN = frozenset({"AVIF", "HTML, SVG or XML"})
_EXTRANEOUS = re.compile(r"(\d+) extraneous bytes before marker 0xd9")


@dataclass(frozen=True)
class ImageLimits:
    """Inclusive limits of a file's bytes and an image's pixels a side."""

    max_bytes: int = 8 * 1024 * 1024
    min_side: int = 64
    max_side: int = 4096


DEFAULT_LIMITS = ImageLimits()


@dataclass(frozen=True)
class ImageHeader:
    """An image's properties, read without decoding its pixels.

    `width` and `height` are pixels as stored, before any Exif rotation. `mode` is Pillow's name
    for the pixel format ('L', 'P', 'RGB', 'RGBA', 'CMYK', 'I;16' ...), `bits` the bits per sample.
    """

    format: Literal["PNG", "JPEG"]
    width: int
    height: int
    mode: str
    bits: int
    container: Container

    @property
    def exif_orientation(self) -> int | None:
        return self.container.exif_orientation


@dataclass(frozen=True)
class ImageInfo:
    """Properties of an image that passed every check; `sha256` is in hex. See also ImageHeader."""

    format: str
    width: int
    height: int
    size_bytes: int
    sha256: str
    converted_from: str | None = None


def check_image(
    data: bytes,
    limits: ImageLimits = DEFAULT_LIMITS,
    expected: tuple[int, int] | None = None,
) -> ImageInfo:
    """Check an image, including its pixel data, and return its properties.

    Args:
        data: The image's bytes.
        limits: Limits of bytes and pixels.
        expected: The (width, height) that the model was trained on, if known.

    Raises:
        ImageError: One of its subclasses, see `lfv.formats.errors`.
    """
    header = check_header(data, limits, expected)
    # This reads all compressed data of a JPEG, but reconstructs it at an eighth of the size.
    decode(header, (header.width // 8, header.height // 8))
    return ImageInfo(
        format=header.format,
        width=header.width,
        height=header.height,
        size_bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
    )


def check_header(
    data: bytes,
    limits: ImageLimits = DEFAULT_LIMITS,
    expected: tuple[int, int] | None = None,
) -> ImageHeader:
    """Run all checks of `check_image` that need no decoded pixels. Raises like `check_image`."""
    if not data:
        raise ImageEmpty("The image file is empty.")
    if len(data) > limits.max_bytes:
        raise ImageTooLarge(
            f"The image has {len(data):,} bytes; the service accepts at most {limits.max_bytes:,}."
        )
    found = sniff(data)
    header: ImageHeader
    if found == "PNG":
        png = read_png(data)
        width, height, mode = _open(PngImageFile, png, found)
        header = ImageHeader("PNG", width, height, mode, png.data[24], png)
    elif found == "JPEG":
        jpeg = read_jpeg(data)
        width, height, mode = _open(JpegImageFile, jpeg, found)
        header = ImageHeader("JPEG", width, height, mode, 8, jpeg)
    else:
        article = "an" if found in _WITH_AN else "a"
        what = f"{article} {found} file" if found else "not in a known image format"
        way_out = ""
        if found in CONVERTIBLE:
            way_out = " (`--convert` of lfv train and lfv inspect converts it)"
        elif found == LFS_POINTER:
            way_out = " (`git lfs pull` downloads the image)"
        raise ImageFormatUnsupported(
            f"The file is {what}; the service accepts PNG and JPEG{way_out}."
        )
    _check_dimensions(header.width, header.height, limits, expected)
    return header


def decode(header: ImageHeader, size: tuple[int, int] | None = None) -> Image.Image:
    """Decode the pixels as stored.

    Args:
        header: The header of an image that passed `check_header`.
        size: The (width, height) that is needed. A JPEG is decoded at the smallest scale (1, 1/2,
            1/4, 1/8) that is large enough, which saves most of the work.

    Raises:
        ImageTruncated: Pixels are missing, even if decoders would fill them with grey.
        ImageDamaged: The pixel data violates the format.
    """
    if header.format == "PNG":
        check_png_pixels(header.container)
        return load_pixels(PngImageFile(io.BytesIO(header.container.data)), "PNG")
    return _decode_jpeg(header, size)


def _decode_jpeg(header: ImageHeader, size: tuple[int, int] | None) -> Image.Image:
    """Decode a JPEG by simplejpeg, which reports libjpeg-turbo's warnings; Pillow drops them.

    The format has neither length nor checksum. Data that is missing from a scan becomes grey, and a
    warning ("premature end of data segment") is the only sign of it.
    """
    import simplejpeg  # imports NumPy, which the other checks do not need

    data = header.container.data
    jpeg = JpegImageFile(io.BytesIO(data))
    if size is not None:
        jpeg.draft(None, size)
    space = {"L": "GRAY", "RGB": "RGB"}.get(header.mode, "CMYK")
    least = {"min_width": jpeg.width, "min_height": jpeg.height}
    try:
        pixels = simplejpeg.decode_jpeg(data, space, **least)
    except ValueError as error:
        problem = str(error)
        if "remature end" in problem:
            raise ImageTruncated(
                "The JPEG is truncated: some of its pixel data is missing."
            ) from None
        padding = _EXTRANEOUS.search(problem)
        if "Corrupt JPEG data" in problem and not (padding and _is_padded(data, int(padding[1]))):
            raise ImageDamaged(f"The JPEG is damaged: {problem}.") from None
        return load_pixels(jpeg, "JPEG")
    if space == "CMYK":  # some writers invert it, which Pillow handles
        return load_pixels(jpeg, "JPEG")
    return Image.fromarray(pixels[..., 0] if space == "GRAY" else pixels)


def _is_padded(jpeg: bytes, count: int) -> bool:
    """Whether the last bytes before the end marker are padding, as some cameras write it."""
    return not jpeg[-2 - count : -2].strip(b"\x00\xff")


def _open(
    plugin: type[PngImageFile | JpegImageFile], container: Container, name: str
) -> tuple[int, int, str]:
    """Return (width, height, mode).

    The plugins are used directly because `Image.open` would initialise Pillow's registry and warn
    about large images through the process-wide `warnings`.
    """
    try:
        with plugin(io.BytesIO(container.data)) as image:
            return image.width, image.height, image.mode
    except _PILLOW_ERRORS as error:
        raise ImageDamaged(f"The {name} is damaged: its header is invalid.") from error


def encoded(image: Image.Image, kind: Literal["PNG", "JPEG"], **options: Any) -> bytes:
    """Return an image as a file of this kind; `options` are those of Pillow's `save`."""
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def load_pixels(image: PngImageFile | JpegImageFile, name: str) -> Image.Image:
    """Decode an image's pixels by Pillow. Raises ImageTruncated or ImageDamaged."""
    try:
        image.load()
    except _PILLOW_ERRORS as error:
        if "truncated" in str(error):
            raise ImageTruncated(
                f"The {name} is truncated: some of its pixel data is missing."
            ) from error
        raise ImageDamaged(f"The {name} is damaged: its pixel data cannot be decoded.") from error
    return image


def _check_dimensions(
    width: int, height: int, limits: ImageLimits, expected: tuple[int, int] | None
) -> None:
    if min(width, height) < limits.min_side:
        raise ImageTooSmall(
            f"The image is {width}x{height} pixels; "
            f"the service accepts at least {limits.min_side}x{limits.min_side}."
        )
    if max(width, height) > limits.max_side:
        raise ImageDimensionsTooLarge(
            f"The image is {width}x{height} pixels; "
            f"the service accepts at most {limits.max_side}x{limits.max_side}."
        )
    if expected is not None and (width, height) != expected:
        raise ImageDimensionsMismatch(
            f"The image is {width}x{height} pixels; "
            f"the model was trained on {expected[0]}x{expected[1]}."
        )
