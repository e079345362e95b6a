"""Defects drawn on normal images, so that there is something to learn from where none are known.

Six kinds: stains, scratches, pieces of another image, blurred areas, areas of another texture, and
areas filled with one colour of the image. They look little like true defects. What they teach is
in which combinations the backbone's channels stand out in a region where something is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lfv.engine.backbone import Backbone
from lfv.engine.descriptors import Description
from lfv.engine.ensemble import BACKBONE
from lfv.engine.observations import Observation
from lfv.engine.training.dataset import Dataset, load

Matrix = NDArray[np.float32]
Pixels = NDArray[np.uint8]
#: Copies of an image on which defects are drawn. With eight the scores were no better.
COPIES = 3
#: Maximum number of copies of all images, to limit the time.
MOST_COPIES = 240
#: Size of a defect, as a share of the image's mean side.
_SIZES = (0.03, 0.3)
#: Sides in pixels for which widths of scratches and of smoothing are stated.
_SIDE = 448
#: Added to the deviation of the image's values, which the strength of a defect is relative to.
_LEAST_DEVIATION = 8.0


@dataclass(frozen=True)
class _Area:
    """The part of an image that a defect changes."""

    #: [rows, columns, channels] of the image
    pixels: Matrix
    #: The same of another image.
    other: Matrix
    #: [rows, columns, 1] how much the defect covers each pixel, 0 to 1
    cover: Matrix
    #: Typical deviation of the image's values.
    deviation: float
    #: The image's mean side as a multiple of ``_SIDE``.
    scale: float
    #: [channels], one pixel of the image
    colour: Matrix


def with_defects(
    observations: Sequence[Observation],
    data: Dataset,
    backbone: Backbone,
    seed: int,
    executor: Executor,
) -> tuple[Observation, ...]:
    """Add to normal images' observations what defects drawn on copies change."""
    count = len(data.images)
    copies = np.diff(np.linspace(0, min(COPIES * count, MOST_COPIES), count + 1).astype(int))
    extract = backbone.open()

    def look(number: int) -> Description | None:
        if not copies[number]:
            return None
        random = np.random.default_rng([seed, number])
        pixels = load(data.images[number], backbone.size).pixels
        found = []
        for _ in range(copies[number]):
            other = load(data.images[int(random.integers(count))], backbone.size).pixels
            maps = extract(draw_defects(pixels, other, random))
            found.append(backbone.describe(maps))
        plain = observations[number].descriptions[BACKBONE]
        return Description(
            np.stack([one.statistics for one in found]) - plain.statistics,
            np.stack([one.regions for one in found]) - plain.regions,
        )

    looks = executor.map(look, range(count))
    return tuple(
        replace(one, changes=found) for one, found in zip(observations, looks, strict=True)
    )


def draw_defects(pixels: Pixels, other: Pixels, random: np.random.Generator) -> Pixels:
    """Return a copy of an image with one to three defects of one kind.

    Args:
        pixels: The image, [rows, columns, channels].
        other: Another image of this size, of which pieces may be taken.
        random: The source of chance.
    """
    image, foreign = pixels.astype(np.float32), other.astype(np.float32)
    rows, columns = image.shape[:2]
    side = float(np.sqrt(rows * columns))
    deviation = float(image.std()) + _LEAST_DEVIATION
    shape, change = _KINDS[int(random.integers(len(_KINDS)))]
    shift = (int(random.integers(rows)), int(random.integers(columns)))
    foreign = np.roll(foreign, shift, axis=(0, 1))
    for _ in range(random.choice([1, 1, 2, 3])):
        size = side * float(np.exp(random.uniform(*np.log(_SIZES))))
        cover = shape(size, side / _SIDE, random)
        inside, shown = _place(cover.shape, (rows, columns), random)
        colour = image[random.integers(rows), random.integers(columns)]
        area = _Area(
            image[inside],
            foreign[inside],
            cover[shown][..., None],
            deviation,
            side / _SIDE,
            colour.copy(),
        )
        image[inside] = change(area, random)
    return np.clip(image, 0, 255).astype(np.uint8)


def _place(
    shape: tuple[int, ...], within: tuple[int, int], random: np.random.Generator
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Return the part of an image that a random place covers, and the part of the cover there."""
    inside, shown = [], []
    for length, side in zip(shape, within, strict=True):
        least = -(length // 4)
        begin = int(random.integers(least, max(least, side - length * 3 // 4) + 1))
        first, last = max(begin, 0), min(begin + length, side)
        inside.append(slice(first, last))
        shown.append(slice(first - begin, last - begin))
    return (inside[0], inside[1]), (shown[0], shown[1])


def _blob(size: float, _scale: float, random: np.random.Generator) -> Matrix:
    """Return a frayed ellipse, with a sharp or a soft edge."""
    length = int(size * 2.2) + 4
    noise = ndimage.gaussian_filter(random.standard_normal((length, length)), size / 6 + 0.5)
    down, across = np.mgrid[:length, :length] - length / 2
    angle, stretch = random.uniform(0, np.pi), np.exp(random.uniform(-0.7, 0.7))
    along = (across * np.cos(angle) + down * np.sin(angle)) / stretch
    aside = (down * np.cos(angle) - across * np.sin(angle)) * stretch
    height = 1 - np.hypot(along, aside) / (size / 2) + 0.35 * noise / (noise.std() + 1e-9)
    cover: Matrix = np.clip(height * random.choice([2.0, 6.0]), 0, 1).astype(np.float32)
    return cover


def _small_blob(size: float, scale: float, random: np.random.Generator) -> Matrix:
    """Return one that is smaller and has a sharper edge."""
    return np.clip(2 * _blob(0.6 * size, scale, random), 0, 1)


def _line(size: float, scale: float, random: np.random.Generator) -> Matrix:
    """Return a crooked line."""
    long, width = 1.5 * size, random.uniform(1, 4) * scale
    length, steps = int(long) + 8, int(2 * long)
    start = random.uniform(0, 2 * np.pi)
    bends = random.normal(0, 0.02) + random.normal(0, 0.06, steps)
    angles = start + np.concatenate([[0], np.cumsum(bends[:-1])])
    across = length / 2 - np.cos(start) * long / 2 + np.cumsum(np.cos(angles)) / 2
    down = length / 2 - np.sin(start) * long / 2 + np.cumsum(np.sin(angles)) / 2
    points = np.stack([down, across]).round().astype(int)
    points = points[:, ((points >= 0) & (points < length)).all(axis=0)]
    thin = np.zeros((length, length), dtype=np.float32)
    thin[points[0], points[1]] = 1
    thick = ndimage.gaussian_filter(thin, width / 2)
    cover: Matrix = np.clip(1.6 * thick / (thick.max() + 1e-9), 0, 1)
    return cover


def _stain(area: _Area, random: np.random.Generator) -> Matrix:
    return _shaded(area, random.uniform(0.3, 1.5), random)


def _scratch(area: _Area, random: np.random.Generator) -> Matrix:
    return _shaded(area, random.uniform(0.5, 2.5), random)


def _shaded(area: _Area, strength: float, random: np.random.Generator) -> Matrix:
    """Return the area lighter or darker by a multiple of the image's deviation."""
    shift = np.float32(random.choice([-1, 1]) * strength * area.deviation)
    shaded: Matrix = area.pixels + shift * area.cover
    return shaded


def _piece(area: _Area, random: np.random.Generator) -> Matrix:
    other = area.other[::-1] if random.random() < 0.5 else area.other
    return _covered(area, other)


def _blur(area: _Area, random: np.random.Generator) -> Matrix:
    sigma = random.uniform(2, 6) * area.scale
    along = sigma * random.choice([1, 0.1])
    return _covered(area, ndimage.gaussian_filter(area.pixels, (sigma, along, 0)))


def _texture(area: _Area, random: np.random.Generator) -> Matrix:
    grain = random.uniform(0.7, 4) * area.scale
    noise = ndimage.gaussian_filter(random.standard_normal(area.cover.shape[:2]), grain)
    strength = random.uniform(0.3, 1.2) * area.deviation / (noise.std() + 1e-9)
    textured: Matrix = area.pixels + area.cover * (strength * noise[..., None]).astype(np.float32)
    return textured


def _fill(area: _Area, _random: np.random.Generator) -> Matrix:
    return _covered(area, area.colour)


def _covered(area: _Area, by: Matrix) -> Matrix:
    covered: Matrix = area.pixels * (1 - area.cover) + by * area.cover
    return covered


_Shape = Callable[[float, float, np.random.Generator], Matrix]
_Change = Callable[[_Area, np.random.Generator], Matrix]
#: The shape of each kind of defect, and what it does to the image.
_KINDS: tuple[tuple[_Shape, _Change], ...] = (
    (_blob, _stain),
    (_line, _scratch),
    (_blob, _piece),
    (_blob, _blur),
    (_blob, _texture),
    (_small_blob, _fill),
)
