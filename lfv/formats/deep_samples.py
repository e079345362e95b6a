"""Decodes all 16 bits of a PNG's samples; Pillow keeps only the upper eight of colours."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import numpy.typing as npt
from PIL.PngImagePlugin import PngImageFile

from lfv.formats.image_headers import PNG_SIGNATURE
from lfv.formats.images import ImageHeader, decode, load_pixels

#: Offset of the colour type in a PNG file.
_COLOR_TYPE = 25
_GREY_WITH_ALPHA = 4


def deep_samples(header: ImageHeader) -> npt.NDArray[np.uint16] | None:
    """Return the samples of a 16-bit PNG: [height, width] for grey, [height, width, 3] for colour.

    None for other images. Pillow keeps only the upper eight bits of images with colours or
    transparency, so the lower ones are decoded separately. Transparent pixels are blended with
    black, as in 8-bit images. Raises like `decode`.
    """
    if header.format != "PNG" or header.bits != 16:
        return None
    upper = decode(header)
    if upper.mode.startswith("I"):
        samples = np.asarray(upper).astype(np.uint16)
    elif header.container.data[_COLOR_TYPE] == _GREY_WITH_ALPHA:
        samples = _grey_with_alpha(header.container.data)
    else:
        lower = PngImageFile(io.BytesIO(header.container.data))
        lower.tile = [tile._replace(args=f"{upper.mode};16L") for tile in lower.tile]
        low = np.asarray(load_pixels(lower, "PNG"), dtype=np.uint16)
        samples = np.asarray(upper).astype(np.uint16) << np.uint16(8) | low
    if upper.mode in ("LA", "RGBA"):
        opaque = samples[..., -1:].astype(np.uint64)
        scaled = (samples[..., :-1] * opaque // 65535).astype(np.uint16)
        return scaled[..., 0] if scaled.shape[2] == 1 else scaled
    clear = upper.info.get("transparency")
    if clear is not None:
        is_clear = samples == np.array(clear, dtype=np.uint16)
        samples[is_clear.all(axis=2) if samples.ndim == 3 else is_clear] = 0
    return samples


def _grey_with_alpha(png: bytes) -> npt.NDArray[np.uint16]:
    """Return the samples of a PNG with 16 bits of grey and 16 of alpha, [height, width, 2].

    The file is decoded as one with four 8-bit samples, which has the same bytes in the same order,
    because filters and interlacing work on whole bytes and pixels.
    """
    start, end = len(PNG_SIGNATURE) + 8, len(PNG_SIGNATURE) + 8 + 13
    described = png[start : start + 8] + bytes((8, 6)) + png[start + 10 : end]
    checksum = struct.pack(">I", zlib.crc32(described, zlib.crc32(b"IHDR")))
    as_rgba = png[:start] + described + checksum + png[end + 4 :]
    image = np.asarray(load_pixels(PngImageFile(io.BytesIO(as_rgba)), "PNG"), dtype=np.uint16)
    pairs: npt.NDArray[np.uint16] = image[..., 0::2] << np.uint16(8) | image[..., 1::2]
    return pairs
