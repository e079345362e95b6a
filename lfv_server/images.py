"""What the API demands of an image before any model sees it."""

from __future__ import annotations

import io
import warnings

from PIL import Image, UnidentifiedImageError

from lfv_server.options import Limits

CONTENT_TYPES = {"image/png": "PNG", "image/jpeg": "JPEG"}
_SIGNATURES = {b"\x89PNG\r\n\x1a\n": "PNG", b"\xff\xd8\xff": "JPEG"}


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

    Raises UnusableImageError for another format, damage, or dimensions out of bounds.
    """
    if sniff(body) is None:
        raise UnusableImageError("the image is neither PNG nor JPEG")
    width, height = _dimensions(body)
    low, high = limits.min_dimension, limits.max_dimension
    if min(width, height) < low or max(width, height) > high:
        raise UnusableImageError(
            f"the image is {width}x{height} pixels; from {low}x{low} to {high}x{high} are allowed"
        )
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
