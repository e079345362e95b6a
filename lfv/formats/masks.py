"""Segmentation masks as arrays of anomaly types.

Masks are palette, grey, RGB or RGBA PNGs, not always of the image's dimensions (Ground Truth gives
normal images a 16x16 dummy). An `internal-color-map` names their colours and may omit BACKGROUND.
Drawing and scaling tools smooth edges, and lossy tools shift the colours of whole regions. So every
pixel is assigned to the nearest colour, of an anomaly type or the background. Black and white in a
mask are background unless the map gives them another meaning. A colour is unknown, and counts as
background, only if it is far from all of these and from every mixture of two of them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt
from PIL import Image

from lfv.formats.errors import ImageFormatUnsupported, MaskColorInvalid
from lfv.formats.image_headers import CONVERTIBLE, sniff
from lfv.formats.images import ImageLimits, check_header, decode, encoded

MASK_LIMITS = ImageLimits(max_bytes=5 * 1024 * 1024, min_side=1)
#: Euclidean RGB distance above which a colour matches neither a known one nor a mixture of two.
FAR = 64.0

_INDICES = 32  # masks with only smaller values hold class numbers, not shades
_FLAT_SHADES = 2
_MOST_OF_THE_EDGE = 0.75
_BIT_DEPTH = 24  # offset of the bit depth in a PNG
_OPAQUE = 128  # drawn masks have soft edges; pixels of less opacity are background
_GROUNDS = ((255, 255, 255), (0, 0, 0))
_HEX = re.compile(r"#([0-9a-fA-F]{6})\Z")

TypeMap = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Mask:
    """The anomaly types of a mask's pixels.

    `classes` is (height, width): 0 for background, else 1 + index of an anomaly type. `unknown` is
    the share of pixels with an unknown colour, 0 to 1; `unknown_color` is the most frequent one, as
    '#RRGGBB'.
    """

    classes: TypeMap
    unknown: float
    unknown_color: str | None = None


def parse_color(text: str) -> tuple[int, int, int]:
    """Return (35, 164, 54) for '#23A436'. Raises MaskColorInvalid."""
    match = _HEX.match(text.strip())
    if match is None:
        raise MaskColorInvalid(f"The mask colour {text!r} is not of the form #RRGGBB.")
    value = int(match[1], 16)
    return value >> 16, value >> 8 & 255, value & 255


def open_mask(data: bytes) -> Image.Image:
    """Decode a mask. Raises a subclass of ImageError unless it is a valid PNG."""
    check_mask(data)
    return decode(check_header(data, MASK_LIMITS))


def plain_colors(anomaly_type: str | None) -> dict[str, str]:
    """Return the colour map of a mask from `plain_mask`."""
    return {"#000000": "BACKGROUND", "#FFFFFF": anomaly_type or "defect"}


def plain_mask(masks: Sequence[bytes]) -> bytes:
    """Combine an image's masks without a colour map into one that is white on black.

    A pixel is anomalous if it is not black in any of the masks. In a smoothed mask this means at
    least half as bright as the brightest pixel; in a mask of small indices, any value but 0. If the
    edge of a mask is mostly white, dark pixels are the anomaly. A single mask that is already white
    on black is returned unchanged.

    Raises:
        ImageError: One of its subclasses, for a mask that is not a valid PNG.
    """
    shown: npt.NDArray[np.bool_] | None = None
    is_plain = False
    for data in masks:
        image = open_mask(data)
        found = _foreground(image, data)
        is_plain = len(masks) == 1 and _is_white(image, found)
        if shown is not None and found.shape != shown.shape:
            size = (shown.shape[1], shown.shape[0])
            found = np.asarray(Image.fromarray(found).resize(size, Image.Resampling.NEAREST))
        shown = found if shown is None else shown | found
    if is_plain or shown is None:
        return masks[0]
    return encoded(Image.fromarray(shown.astype(np.uint8) * 255), "PNG", compress_level=1)


def shows_anomaly(masks: Sequence[bytes]) -> bool:
    """Whether any of an image's masks without a colour map shows an anomaly.

    Raises:
        ImageError: One of its subclasses, for a mask that is not a valid PNG.
        MaskColorInvalid: All pixels of a mask are light, so its background is unknown.
    """
    for data in masks:
        found = _foreground(open_mask(data), data)
        if found.all():
            raise MaskColorInvalid("The mask has only one colour, so its background is unknown.")
        if found.any():
            return True
    return False


def is_flat(data: bytes) -> bool:
    """Whether a PNG has at most two shades, as masks do and photographs do not.

    Raises:
        ImageError: One of its subclasses, for a file that is not a valid PNG.
    """
    return len(np.unique(np.asarray(open_mask(data).convert("L")))) <= _FLAT_SHADES


def _is_white(image: Image.Image, found: npt.NDArray[np.bool_]) -> bool:
    """Whether a grey mask is 255 in the foreground and 0 elsewhere."""
    if image.mode not in ("1", "L"):
        return False
    return bool((np.asarray(image.convert("L")) == np.where(found, 255, 0)).all())


def _foreground(image: Image.Image, png: bytes) -> npt.NDArray[np.bool_]:
    """Return which pixels show an anomaly: those not black or, on a white background, not white."""
    if image.mode.startswith("I"):
        level = np.asarray(image).astype(np.int64)
    else:
        rgba = np.asarray(image.convert("RGBA"))
        level = np.where(rgba[..., 3] >= _OPAQUE, rgba[..., :3].max(axis=2), 0)
        darkest = rgba[..., :3].min(axis=2)
        if level.min(initial=255) > _INDICES and darkest.max(initial=0) == 255 > darkest.min():
            return np.asarray(darkest < _OPAQUE)  # colours on white
    brightest = int(level.max(initial=0))
    if brightest < _INDICES and png[_BIT_DEPTH] >= 8:
        return np.asarray(level > 0)
    has_few = image.mode == "P" and len(np.unique(level)) <= _INDICES
    if has_few or png[_BIT_DEPTH] < 8:  # Pillow scales 2 and 4 bits up to 8
        return _find_anomaly(np.asarray(level > 0))
    return _find_anomaly(np.asarray(level * 2.0 >= brightest))


def _find_anomaly(light: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return the anomaly of a mask: its light pixels, or the dark ones on a light background.

    The background surrounds an anomaly and is larger. So light pixels are the background if they
    make up most of the edge and more than half of the mask.
    """
    edge = np.concatenate([light[0], light[-1], light[:, 0], light[:, -1]])
    if edge.mean() >= _MOST_OF_THE_EDGE and 0.5 < light.mean() < 1.0:
        return ~light
    return light


def check_mask(data: bytes) -> None:
    """Raise ImageFormatUnsupported unless the first bytes are those of a PNG."""
    found = sniff(data)
    if found in CONVERTIBLE:
        raise ImageFormatUnsupported(
            f"The mask is a {found}; save it as a PNG, or use `--convert` of lfv train and "
            "lfv inspect."
        )
    if found == "JPEG":
        raise ImageFormatUnsupported(
            "The mask is a JPEG, whose colours are not exact; save it as a PNG."
        )
    if found != "PNG":
        raise ImageFormatUnsupported("The mask is not a PNG.")


def read_mask(
    data: bytes,
    colors: Mapping[str, str],
    types: Sequence[str],
    size: tuple[int, int] | None = None,
) -> TypeMap:
    """Return the classes of `examine_mask`."""
    return examine_mask(data, colors, types, size).classes


def examine_mask(
    data: bytes,
    colors: Mapping[str, str],
    types: Sequence[str],
    size: tuple[int, int] | None = None,
) -> Mask:
    """Assign every pixel of a mask to a class.

    Args:
        data: The mask's PNG.
        colors: Names by '#RRGGBB'; names that are not in `types` are background.
        types: Anomaly types; class 1 is the first.
        size: (width, height) of the result, if not the mask's own. Scaling does not mix colours.

    Raises:
        ImageError: One of its subclasses, for a mask that is not a valid PNG.
        MaskColorInvalid: A key of `colors` is not of the form #RRGGBB.
    """
    image = open_mask(data)
    if image.mode.startswith("I"):  # 16 bits, which Pillow would clip at 255
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    rgba = image.convert("RGBA")
    if size is not None and rgba.size != size:
        rgba = rgba.resize(size, Image.Resampling.NEAREST)
    flat = np.array(rgba).reshape(-1, 4)
    visible = flat[:, 3] >= _OPAQUE
    packed = flat.view("<u4")[:, 0] & 0xFFFFFF
    shown, where = np.unique(packed, return_inverse=True)
    seen = np.zeros(len(shown), dtype=bool)
    seen[where[visible]] = True
    rgb = np.stack([shown & 255, shown >> 8 & 255, shown >> 16], axis=1).astype(np.float32)
    palette, classes = _palette(colors, types, {tuple(map(int, one)) for one in rgb[seen]})
    classed, unknown = _nearest_color(rgb, palette, classes)
    result = np.where(visible, classed[where], 0).astype(np.uint8)
    strange = np.bincount(where[visible & unknown[where]], minlength=len(shown))
    if not strange.any():
        return Mask(result.reshape(rgba.height, rgba.width), 0.0)
    color = "#" + bytes(rgb[strange.argmax()].astype(np.uint8)).hex().upper()
    return Mask(result.reshape(rgba.height, rgba.width), strange.sum() / len(flat), color)


def _palette(
    colors: Mapping[str, str], types: Sequence[str], shown: set[tuple[int, ...]]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]:
    """Return colours and their classes, including black and white as background if they occur."""
    index = {name: number for number, name in enumerate(types, 1)}
    known = {parse_color(color): index.get(name, 0) for color, name in colors.items()}
    for ground in _GROUNDS:
        if ground in shown:
            known.setdefault(ground, 0)
    if not known:
        known[_GROUNDS[0]] = 0
    return np.array(list(known), dtype=np.float32), np.array(list(known.values()), dtype=np.uint8)


def _nearest_color(
    rgb: npt.NDArray[np.float32],
    palette: npt.NDArray[np.float32],
    classes: npt.NDArray[np.uint8],
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
    """Return for each colour the class of the nearest in the palette, and whether it is unknown."""
    squared = np.stack([((rgb - color) ** 2).sum(axis=1) for color in palette], axis=1)
    result = classes[squared.argmin(axis=1)]
    unknown = squared.min(axis=1) > FAR**2
    for one, other in combinations(palette, 2):
        if not unknown.any():
            break
        rest = rgb[unknown]
        along = other - one
        share = ((rest - one) @ along / (along @ along)).clip(0, 1)
        away = ((rest - one - share[:, None] * along) ** 2).sum(axis=1)
        unknown[np.flatnonzero(unknown)[away <= FAR**2]] = False
    return np.where(unknown, 0, result).astype(np.uint8), unknown
