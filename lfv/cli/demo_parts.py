"""Computed pictures of a turned aluminium flange, intact or damaged.

The part is a height field lit by one lamp, lying on a rubber mat. Lathe grooves produce the double
fan of light of turned metal. Parts differ slightly in position, angle, light, tint and grain, as on
a real line. A scratch and a dent change the height and so reflect the light differently; a stain
changes the colour.

`render_part` depends only on its `Generator`: the same seed gives the same picture (with the same
version of NumPy).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

Array = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

WIDTH, HEIGHT = 320, 240
#: Anomaly types in the order of their mask numbers, with the colours of the training masks.
ANOMALY_COLORS: Mapping[str, str] = {"scratch": "#1f77b4", "dent": "#2ca02c", "stain": "#ff7f0e"}

_SCALE = 2  # drawn at twice the size and averaged, which smooths every edge
_OUTER, _STEP, _BORE = 98.0, 66.0, 27.0  # radii in pixels of the finished picture
_HOLES, _HOLE_CIRCLE, _HOLE = 6, 82.0, 7.5


@dataclass(frozen=True)
class Picture:
    """An RGB image of WIDTH x HEIGHT pixels, and the mask of its defects.

    Mask values are 0 for no defect, or the position of the type in `ANOMALY_COLORS` from 1.
    """

    image: Image.Image
    mask: npt.NDArray[np.uint8]

    @property
    def is_anomalous(self) -> bool:
        return bool(self.mask.any())


@dataclass
class _Scene:
    """The scene, at `_SCALE` times the final size; lengths are in final pixels."""

    x: Array  # coordinates relative to the part's centre
    y: Array
    radius: Array
    height: Array
    metal: Mask  # where there is part and no hole
    roughness: Array  # 0 polished .. 1 torn
    tint: Array  # H x W x 3 factors on the colour of the metal
    angle: float
    labels: npt.NDArray[np.uint8]


def render_part(rng: np.random.Generator, defects: Sequence[str] = ()) -> Picture:
    """Draw a part with one defect of each named type (keys of `ANOMALY_COLORS`)."""
    scene = _flange(rng)
    for name in defects:
        number = list(ANOMALY_COLORS).index(name) + 1
        area = _DEFECTS[name](scene, rng)
        scene.labels[area & scene.metal] = number
    pixels = _light(scene, rng)
    small = pixels.reshape(HEIGHT, _SCALE, WIDTH, _SCALE, 3).mean(axis=(1, 3))
    small = small * _vignette() + rng.normal(0.0, 0.006, small.shape).astype(np.float32)
    image = Image.fromarray((np.clip(small, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8))
    blocks = scene.labels.reshape(HEIGHT, _SCALE, WIDTH, _SCALE)
    return Picture(image=image, mask=blocks.max(axis=(1, 3)))


def _flange(rng: np.random.Generator) -> _Scene:
    centre_x = WIDTH / 2 + rng.uniform(-4.0, 4.0)
    centre_y = HEIGHT / 2 + rng.uniform(-3.0, 3.0)
    rows, columns = np.mgrid[0 : HEIGHT * _SCALE, 0 : WIDTH * _SCALE].astype(np.float32)
    x = (columns + 0.5) / _SCALE - np.float32(centre_x)
    y = (rows + 0.5) / _SCALE - np.float32(centre_y)
    radius = np.hypot(x, y)
    angle = rng.uniform(-0.08, 0.08)

    holes = np.full_like(radius, np.inf)
    for number in range(_HOLES):
        phi = angle + (number + 0.5) * 2 * np.pi / _HOLES
        distance = np.hypot(x - _HOLE_CIRCLE * np.cos(phi), y - _HOLE_CIRCLE * np.sin(phi))
        holes = np.minimum(holes, distance)

    # Plateaus with chamfers between them, then the tool's grooves.
    height = 4.0 * _ramp(_OUTER - radius, 5.0) + 6.0 * _ramp(_STEP - radius, 4.0)
    height -= 3.0 * _ramp(_BORE + 4.0 - radius, 4.0)
    height -= 2.0 * _ramp(_HOLE + 2.5 - holes, 2.5)
    profile = ndimage.gaussian_filter1d(rng.normal(0.0, 1.0, 1024), 1.1) * rng.uniform(0.09, 0.13)
    height += np.interp(radius * 6.0, np.arange(1024), profile).astype(np.float32)
    metal = (radius < _OUTER) & (radius > _BORE) & (holes > _HOLE)
    return _Scene(
        x=x,
        y=y,
        radius=radius,
        height=height.astype(np.float32),
        metal=metal,
        roughness=np.zeros_like(radius),
        tint=np.ones((*radius.shape, 3), np.float32),
        angle=angle,
        labels=np.zeros(radius.shape, np.uint8),
    )


def _light(scene: _Scene, rng: np.random.Generator) -> Array:
    """Return the colours of the scene, 0 to 1, at drawing size."""
    slope_y, slope_x = np.gradient(scene.height, 1.0 / _SCALE)
    lamp_angle = -2.2 + rng.uniform(-0.18, 0.18)
    lamp = _unit(np.array([0.62 * np.cos(lamp_angle), 0.62 * np.sin(lamp_angle), 1.0]))
    half = _unit(lamp + np.array([0.0, 0.0, 1.0]))

    length = np.sqrt(slope_x**2 + slope_y**2 + 1.0)
    facing = (lamp[2] - slope_x * lamp[0] - slope_y * lamp[1]) / length
    diffuse = np.clip(facing, 0.0, None)

    # Grooves run along the tangent; light is scattered across them and hardly along them.
    along_x, along_y = -scene.y / (scene.radius + 1e-3), scene.x / (scene.radius + 1e-3)
    along_z = along_x * slope_x + along_y * slope_y
    dot = (along_x * half[0] + along_y * half[1] + along_z * half[2]) / np.sqrt(1.0 + along_z**2)
    fan = np.clip(1.0 - dot**2, 0.0, 1.0) ** 22
    dull = np.clip((half[2] - slope_x * half[0] - slope_y * half[1]) / length, 0.0, 1.0) ** 28
    gloss = (1.0 - scene.roughness) * (0.34 * fan + 0.10 * dull) + scene.roughness * 0.42 * dull

    exposure = rng.uniform(0.94, 1.06)
    warmth = rng.normal(0.0, 0.012)
    grain = ndimage.gaussian_filter(rng.normal(0.0, 1.0, scene.radius.shape), 1.2) * 0.035
    steel = np.array([0.64 + warmth, 0.655, 0.68 - warmth], np.float32)
    brightness = (0.20 + 0.62 * diffuse + grain)[..., None]
    metal = (steel * brightness + gloss[..., None]) * scene.tint

    shadow = ndimage.gaussian_filter(
        ndimage.shift(scene.metal.astype(np.float32), (7 * _SCALE, 5 * _SCALE), order=0), 5 * _SCALE
    )
    mat = _mat(rng, scene.radius.shape) * (1.0 - 0.72 * shadow)[..., None]
    cover = ndimage.gaussian_filter(scene.metal.astype(np.float32), 0.6)[..., None]
    picture: Array = (exposure * (cover * metal + (1.0 - cover) * mat)).astype(np.float32)
    return picture


def _mat(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Draw a dark ribbed rubber mat."""
    rows, columns = np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float32)
    phase = rng.uniform(0.0, 2 * np.pi)
    ribs = 0.012 * np.sin((columns + rows) * (2 * np.pi / (5.0 * _SCALE)) + phase)
    fine = ndimage.gaussian_filter(rng.normal(0.0, 1.0, shape), 1.0) * 0.045
    broad = ndimage.zoom(rng.normal(0.0, 0.012, (shape[0] // 80, shape[1] // 80)), 80, order=1)
    value = 0.185 + ribs + fine + broad
    tint = np.array([0.86, 0.97, 1.12], np.float32)
    mat: Array = (value[..., None] * tint).astype(np.float32)
    return mat


def _scratch(scene: _Scene, rng: np.random.Generator) -> Mask:
    """Add a bent groove of varying depth with burrs on its sides."""
    x, y, heading = *_spot(scene, rng), rng.uniform(0.0, 2 * np.pi)
    length, bend = rng.uniform(38.0, 85.0), rng.uniform(-0.012, 0.012)
    width = rng.uniform(0.75, 1.25)
    steps = int(length * 2)
    box = np.hypot(scene.x - x, scene.y - y) < length / 2 + 8.0
    # Centred, so that a long scratch is visible for every position of the centre.
    x, y = x - np.cos(heading) * length / 2, y - np.sin(heading) * length / 2
    nearest = np.full_like(scene.radius, np.inf)
    where = np.zeros_like(scene.radius)
    inside_x, inside_y = scene.x[box], scene.y[box]
    best, position = nearest[box], where[box]
    for step in range(steps):
        distance = np.hypot(inside_x - x, inside_y - y)
        closer = distance < best
        best = np.where(closer, distance, best)
        position = np.where(closer, step / steps, position)
        heading += bend + rng.normal(0.0, 0.012)
        x, y = x + 0.5 * np.cos(heading), y + 0.5 * np.sin(heading)
    nearest[box], where[box] = best, position
    pressure = np.sqrt(np.clip(np.sin(np.pi * np.clip(where, 0.02, 0.98)), 0.0, 1.0))
    profile = np.exp(-((nearest / width) ** 2)) - 0.45 * np.exp(-(((nearest - 1.9) / 0.8) ** 2))
    scene.height -= (rng.uniform(0.9, 1.4) * pressure * profile).astype(np.float32)
    torn = np.exp(-((nearest / (width * 1.1)) ** 2)) * pressure
    scene.roughness = np.maximum(scene.roughness, torn).astype(np.float32)
    scene.tint *= (1.0 - (0.30 * torn)[..., None]).astype(np.float32)
    area: Mask = nearest < width * 1.6 + 0.5
    return area


def _dent(scene: _Scene, rng: np.random.Generator) -> Mask:
    """Add a round hollow with a raised lip, as on a dropped part."""
    x, y = _spot(scene, rng)
    radius = rng.uniform(6.5, 11.0)
    stretch, turn = rng.uniform(0.75, 1.0), rng.uniform(0.0, np.pi)
    u = (scene.x - x) * np.cos(turn) + (scene.y - y) * np.sin(turn)
    v = (-(scene.x - x) * np.sin(turn) + (scene.y - y) * np.cos(turn)) / stretch
    distance = np.hypot(u, v) / radius
    hollow = np.exp(-((distance * 1.55) ** 2) * 1.3)
    lip = np.exp(-(((distance - 1.0) / 0.22) ** 2))
    scene.height -= (radius * rng.uniform(0.30, 0.42) * hollow - 0.35 * lip).astype(np.float32)
    scene.roughness = np.maximum(scene.roughness, (0.55 * hollow).astype(np.float32))
    area: Mask = distance < 1.1
    return area


def _stain(scene: _Scene, rng: np.random.Generator) -> Mask:
    """Add an oil or coolant stain: a ragged brownish patch, darker along its edge."""
    x, y = _spot(scene, rng)
    radius = rng.uniform(10.0, 18.0)
    shape = scene.radius.shape
    ragged = _noise(rng, shape, 4.0) * 0.16 + _noise(rng, shape, 1.2) * 0.05
    distance = np.hypot(scene.x - x, (scene.y - y) * rng.uniform(0.9, 1.4)) / radius
    depth = 1.0 - distance + ragged
    cover = np.clip(depth / 0.22, 0.0, 1.0)
    film = 0.62 + 0.20 * np.tanh(_noise(rng, shape, 3.0))  # thicker here, thinner there
    edge = np.exp(-(((depth - 0.13) / 0.08) ** 2))
    strength = np.clip(rng.uniform(0.75, 1.0) * film * cover + 0.28 * edge, 0.0, 1.0)[..., None]
    color = np.array([0.60, 0.44, 0.27]) + rng.normal(0.0, 0.015, 3)
    scene.tint *= (1.0 - strength * (1.0 - color)).astype(np.float32)
    area: Mask = depth > 0.03
    return area


_DEFECTS: Mapping[str, Callable[[_Scene, np.random.Generator], Mask]] = {
    "scratch": _scratch,
    "dent": _dent,
    "stain": _stain,
}


def _noise(rng: np.random.Generator, shape: tuple[int, ...], size: float) -> Array:
    """Return smooth noise of unit variance with blobs of about `size` final pixels."""
    noise = ndimage.gaussian_filter(rng.normal(0.0, 1.0, shape), size * _SCALE)
    scaled: Array = (noise / (noise.std() + 1e-9)).astype(np.float32)
    return scaled


def _spot(scene: _Scene, rng: np.random.Generator) -> tuple[float, float]:
    """Choose a place on the metal, clear of bore, step, holes and rim."""
    ring = (33.0, 60.0) if rng.random() < 0.55 else (73.0, 90.0)
    while True:
        radius, phi = rng.uniform(*ring), rng.uniform(0.0, 2 * np.pi)
        to_hole = (phi - scene.angle) % (2 * np.pi / _HOLES) - np.pi / _HOLES
        if ring[0] < _STEP or abs(to_hole) * radius > _HOLE + 8.0:
            return float(radius * np.cos(phi)), float(radius * np.sin(phi))


def _ramp(distance: Array, width: float) -> Array:
    """Return 0 outside and 1 inside, with a linear slope of `width` pixels between."""
    ramp: Array = np.clip(distance / width, 0.0, 1.0)
    return ramp


def _unit(vector: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    unit: npt.NDArray[np.float64] = vector / np.linalg.norm(vector)
    return unit


def _vignette() -> Array:
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    away = ((columns - WIDTH / 2) / WIDTH) ** 2 + ((rows - HEIGHT / 2) / HEIGHT) ** 2
    vignette: Array = (1.0 - 0.35 * away)[..., None].astype(np.float32)
    return vignette
