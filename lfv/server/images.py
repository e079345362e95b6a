"""What the API demands of an image before any model sees it."""

from __future__ import annotations

import io
import re
import warnings

from PIL import Image, UnidentifiedImageError

from lfv.server.options import Limits

CONTENT_TYPES = {"image/png": "PNG", "image/jpeg": "JPEG"}
_SIGNATURES = {b"\x89PNG\r\n\x1a\n": "PNG", b"\xff\xd8\xff": "JPEG"}
MAX_SCANS = 100
"""Of a progressive JPEG. Encoders make about ten; every one costs the decoder a pass over all
pixels, however few bytes it has."""
_SCAN, _END = 0xDA, 0xD9
# Reserved ones too: decoders that pass over them look for the next marker right behind.
_WITHOUT_LENGTH = frozenset({*range(0x01, 0xC0), *range(0xD0, 0xD9)})
# No stuffed 0xFF00 and no restart markers, of which a scan's data are full, and no fill bytes.
_MARKER = re.compile(rb"\xff([\x01-\xcf\xd8-\xfe])")


class UnusableImageError(Exception):
    """The message says what is wrong with the image."""


def sniff(body: bytes) -> str | None:
    """``PNG`` or ``JPEG`` by the first bytes, or None."""
    for signature, name in _SIGNATURES.items():
        if body.startswith(signature):
            return name
    return None


def check_header(body: bytes, limits: Limits) -> tuple[int, int]:
    """Width and height in pixels, from the header alone: nothing is decompressed.

    Raises UnusableImageError for another format, damage, dimensions out of bounds, or a JPEG that
    takes far more passes to decode than any encoder would make it take.
    """
    if sniff(body) is None:
        raise UnusableImageError("the image is neither PNG nor JPEG")
    width, height = _dimensions(body)
    low, high = limits.min_dimension, limits.max_dimension
    if min(width, height) < low or max(width, height) > high:
        raise UnusableImageError(
            f"the image is {width}x{height} pixels; from {low}x{low} to {high}x{high} are allowed"
        )
    if sniff(body) == "JPEG" and _has_too_many_scans(body):
        raise UnusableImageError(f"the image has more than {MAX_SCANS} scans")
    return width, height


def check_mask_header(body: bytes, limits: Limits) -> None:
    """A mask may be smaller than its image: Amazon's own sample has some of 16x16.

    Raises UnusableImageError for another format, damage, or more pixels than an image may have.
    """
    if sniff(body) != "PNG":
        raise UnusableImageError("not a PNG")
    width, height = _dimensions(body)
    if max(width, height) > limits.max_dimension:
        most = f"{limits.max_dimension}x{limits.max_dimension}"
        raise UnusableImageError(f"{width}x{height} pixels; {most} is the most")


def _has_too_many_scans(body: bytes) -> bool:
    marker = bytes((0xFF, _SCAN))
    # Every scan begins with these two bytes, and few images have them that often by chance.
    if body.count(marker) <= MAX_SCANS:
        return False
    scans, position = 0, 2
    while scans <= MAX_SCANS and (found := _MARKER.search(body, position)):
        code, position = found[1][0], found.end()
        if code == _END:
            break
        scans += code == _SCAN
        if code not in _WITHOUT_LENGTH:
            # What is inside a segment, such as a thumbnail's scan, is none of the image's own.
            position += int.from_bytes(body[position : position + 2], "big")
    return scans > MAX_SCANS


def _dimensions(body: bytes) -> tuple[int, int]:
    try:
        with warnings.catch_warnings():
            # The dimensions are compared with our own, lower limits just below.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(body), formats=("PNG", "JPEG")) as image:
                return image.size
    except Image.DecompressionBombError:
        raise UnusableImageError("the image has far more pixels than 4096x4096") from None
    except UnidentifiedImageError:
        raise UnusableImageError("the image's header can't be read") from None
    except Exception as error:  # noqa: BLE001 (damaged bytes raise anything from any codec)
        raise UnusableImageError(f"the image's header can't be read: {error}") from None
