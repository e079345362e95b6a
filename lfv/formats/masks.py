"""Segmentation masks as arrays of anomaly types.

Masks come as palette, grey, RGB or RGBA PNGs, of the image's dimensions or not (Ground Truth gives
normal images a 16x16 dummy), and their colours are named by an `internal-color-map` that may lack
BACKGROUND. So: the colours that are named count (a shade off, where an edge is soft), everything
else is background, and a mask of other dimensions is scaled without mixing colours.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from lfv.formats.errors import ImageDamaged, ImageDimensionsTooLarge, ImageFormatUnsupported
from lfv.formats.image_headers import PNG_SIGNATURE, check_png_pixels, read_png

MAX_MASK_BYTES = 5 * 1024 * 1024
_MAX_SIDE = 8192
_OPAQUE = 128  # drawn masks have soft edges; from half opacity on a pixel belongs to the anomaly
_ROUNDING = 8  # by which soft edges stray from their colour, a channel

TypeMap = npt.NDArray[np.uint8]


def read_mask(
    png: bytes,
    colors: Mapping[str, str],
    types: Sequence[str],
    size: tuple[int, int] | None = None,
) -> TypeMap:
    """An array (height, width): 0 for background, 1 + index in `types` for an anomaly type.

    `colors` maps '#RRGGBB' to names. `size` is (width, height) of the result, where it is not the
    mask's own. Raises ImageError's subclasses for a mask that is not a sound PNG.
    """
    if not png.startswith(PNG_SIGNATURE):
        raise ImageFormatUnsupported("The mask is not a PNG.")
    header = read_png(png)
    if max(header.width, header.height) > _MAX_SIDE:
        raise ImageDimensionsTooLarge(f"The mask is {header.width}x{header.height} pixels.")
    check_png_pixels(header)
    try:
        with PngImageFile(io.BytesIO(header.pixel_data)) as mask:
            pixels = mask.convert("RGBA")
    except (OSError, SyntaxError, ValueError, struct.error, zlib.error) as error:
        raise ImageDamaged("The mask's pixel data cannot be decoded.") from error
    if size is not None and pixels.size != size:
        pixels = pixels.resize(size, Image.Resampling.NEAREST)
    rgba = np.asarray(pixels)
    visible = rgba[..., 3] >= _OPAQUE
    colored = rgba[..., :3].astype(np.int16)
    result = np.zeros(visible.shape, dtype=np.uint8)
    index = {name: number for number, name in enumerate(types, 1)}
    for tolerance in (_ROUNDING, 0):  # an exact match has the last word
        for color, name in colors.items():
            if name in index:
                wanted = np.frombuffer(bytes.fromhex(color[1:]), dtype=np.uint8).astype(np.int16)
                near = (np.abs(colored - wanted) <= tolerance).all(axis=-1)
                result[near & visible] = index[name]
            elif tolerance == 0:  # BACKGROUND, or a type that is not asked for
                wanted = np.frombuffer(bytes.fromhex(color[1:]), dtype=np.uint8).astype(np.int16)
                result[(colored == wanted).all(axis=-1)] = 0
    return result
