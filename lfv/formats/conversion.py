"""Converts images that a host does not accept.

Other formats become PNG, with the same samples. Images with too many bytes become JPEG, with a
small loss of quality. This happens only if the user allows it, and is recorded.
"""

from __future__ import annotations

import io
from dataclasses import replace

from PIL import Image

from lfv.formats.errors import (
    ImageDamaged,
    ImageDimensionsTooLarge,
    ImageEncodingUnsupported,
    ImageMultiPicture,
)
from lfv.formats.image_headers import CONVERTIBLE, sniff
from lfv.formats.images import DEFAULT_LIMITS, ImageHeader, check_header, decode, encoded

_QUALITIES = (95, 90, 85, 75)
_LOSSLESS = frozenset({"1", "L", "LA", "P", "RGB", "RGBA", "I;16"})


def as_png(data: bytes) -> tuple[bytes, str | None]:
    """Return the image as a PNG, and the format that it was converted from.

    PNG, JPEG and formats that cannot be converted are returned unchanged, with None.

    Raises:
        ImageError: One of its subclasses, for an image that is damaged, too large, has several
            pictures, or cannot be converted without loss.
    """
    found = sniff(data)
    if found not in CONVERTIBLE:
        return data, None
    try:
        image = Image.open(io.BytesIO(data), formats=(CONVERTIBLE[found],))
    except Image.DecompressionBombError:
        raise ImageDimensionsTooLarge(f"The {found} has too many pixels.") from None
    except Exception as error:
        raise ImageDamaged(f"The {found} is damaged: its header cannot be read.") from error
    with image:
        most = DEFAULT_LIMITS.max_side
        if max(image.size) > most:
            raise ImageDimensionsTooLarge(
                f"The image is {image.width}x{image.height} pixels; "
                f"the service accepts at most {most}x{most}."
            )
        if getattr(image, "n_frames", 1) > 1:
            raise ImageMultiPicture(
                f"The {found} contains several images; the service accepts only one."
            )
        try:
            image.load()
        except Exception as error:
            raise ImageDamaged(
                f"The {found} is damaged: its pixel data cannot be decoded."
            ) from error
        plain: Image.Image = image
        if image.mode in ("I;16B", "I;16L"):
            plain = image.convert("I").convert("I;16")
        if plain.mode not in _LOSSLESS:
            raise ImageEncodingUnsupported(
                f"The {found} has pixels of mode {image.mode}, which PNG does not support; save it "
                "as 8-bit or 16-bit greyscale, or as 8-bit colour."
            )
        return encoded(plain, "PNG", compress_level=3), found


def within(data: bytes, max_bytes: int) -> tuple[bytes, str | None]:
    """Encode an image in at most `max_bytes`; return it and, if it changed, what was done.

    The result is a JPEG of the highest quality, 95 to 75, that fits, with the same bytes every
    time. Images are returned unchanged, with None, if they are small enough, are not 8-bit grey or
    RGB, or fit at no quality.

    Raises:
        ImageError: One of its subclasses, for an image that is damaged or outside the limits.
    """
    if len(data) <= max_bytes or sniff(data) not in {"PNG", "JPEG"}:
        return data, None
    header = check_header(data, replace(DEFAULT_LIMITS, max_bytes=len(data)))
    if header.bits > 8 or header.mode not in {"1", "L", "RGB"}:
        return data, None
    image = _grey_or_rgb(header)
    for quality in _QUALITIES:
        jpeg = encoded(image, "JPEG", quality=quality, subsampling=0)
        if len(jpeg) <= max_bytes:
            return jpeg, f"{header.format} of {len(data):,} bytes, now quality {quality}"
    return data, None


def at_quality(data: bytes, quality: int) -> bytes:
    """Encode an image as a JPEG of this quality, as `within` does. Raises like `within`."""
    header = check_header(data, replace(DEFAULT_LIMITS, max_bytes=len(data)))
    return encoded(_grey_or_rgb(header), "JPEG", quality=quality, subsampling=0)


def _grey_or_rgb(header: ImageHeader) -> Image.Image:
    return decode(header).convert("L" if header.mode in {"1", "L"} else "RGB")
