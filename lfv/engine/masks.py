"""Annotated masks, as they really come.

Amazon's own sample has palette and RGBA masks, no BACKGROUND entry in the colour map, and no or a
dummy mask (16x16) on normal images.  So: a pixel belongs to the anomaly type of its exact colour,
or of the nearest mapped colour when a lossy tool has blurred it; everything else is background.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lfv.engine.decoding import to_rgb
from lfv.engine.errors import TrainingError

BACKGROUND_NAMES = frozenset({"background", "normal"})
MAX_COLOR_DISTANCE = 48.0
"""Largest Euclidean RGB distance at which a pixel is still taken for a mapped colour."""
_PLACES = np.array([1, 1 << 8, 1 << 16])
_ROWS = 1 << 16
"""Pixels of unmapped colours that are looked at together."""
_HEX = re.compile(r"#?([0-9a-fA-F]{6})\Z")


def parse_color(text: str) -> tuple[int, int, int]:
    """``'#23A436'`` to (35, 164, 54).

    :raises TrainingError: if it is no such colour.
    """
    match = _HEX.match(text.strip())
    if match is None:
        raise TrainingError(f"The mask colour {text!r} is not of the form #RRGGBB.")
    value = int(match.group(1), 16)
    return value >> 16, value >> 8 & 255, value & 255


def open_mask(path: Path) -> Image.Image:
    """The mask as RGBA.

    :raises TrainingError: if the file is no readable image.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path, formats=("PNG", "JPEG")) as image:
                deep = image.mode.startswith("I")
                return (to_rgb(image) if deep else image).convert("RGBA")
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise TrainingError(f"Its mask cannot be read: {error}.") from error


def read_mask(
    path: Path,
    colors: Mapping[str, str],
    types: tuple[str, ...],
    size: tuple[int, int],
) -> NDArray[np.uint8]:
    """The mask as class numbers: 0 background, i + 1 for ``types[i]``.

    :param colors: colour to name, of this image's manifest line.
    :param size: (width, height) of the result; scaled with nearest neighbour.
    :returns: uint8 [height, width].
    :raises TrainingError: if the file is no readable image.
    """
    rgba = open_mask(path)
    if rgba.size != size:
        rgba = rgba.resize(size, Image.Resampling.NEAREST)
    flat = np.array(rgba).reshape(-1, 4)
    packed = flat.view("<u4")[:, 0] & 0xFFFFFF
    known, classes = _palette(colors, types)
    result = np.zeros(len(flat), dtype=np.uint8)
    other = np.ones(len(flat), dtype=bool)
    for value, number in zip(known @ _PLACES, classes, strict=True):
        here = packed == value
        result[here] = number
        other &= ~here
    where = np.flatnonzero(other)
    for start in range(0, len(where), _ROWS):
        part = where[start : start + _ROWS]
        result[part] = _nearest(flat[part, :3], known, classes)
    result[flat[:, 3] < 128] = 0  # transparent
    return result.reshape(size[1], size[0])


def _nearest(
    rgb: NDArray[np.uint8], known: NDArray[np.float64], classes: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """Class of the mapped colour that is nearest to each, [pixels, 3], if it is near enough."""
    pixels, palette = rgb.astype(np.float32), known.astype(np.float32)
    squared = (palette**2).sum(axis=1) - 2 * pixels @ palette.T
    nearest = squared.argmin(axis=1)
    distance = squared[np.arange(len(rgb)), nearest] + (pixels**2).sum(axis=1)
    found: NDArray[np.uint8] = np.where(
        distance <= MAX_COLOR_DISTANCE**2, classes[nearest], 0
    ).astype(np.uint8)
    return found


def _palette(
    colors: Mapping[str, str], types: tuple[str, ...]
) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    """Mapped colours plus black and white as background, unless those are mapped themselves."""
    rgb = [parse_color(color) for color in colors]
    names = list(colors.values())
    for ground in ((255, 255, 255), (0, 0, 0)):
        if ground not in rgb:
            rgb.append(ground)
            names.append("background")
    classes = [types.index(name) + 1 if name in types else 0 for name in names]
    return np.array(rgb, dtype=np.float64), np.array(classes, dtype=np.uint8)


def is_background(name: str) -> bool:
    """Whether a colour map entry means "no anomaly here"."""
    return name.strip().lower() in BACKGROUND_NAMES
