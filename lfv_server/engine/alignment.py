"""Bringing a part that lies anywhere, at any angle, to where the normal ones lie.

The image is reduced to a small map of how far each position's colour is from the border's; the
rotation and shift with the highest circular cross-correlation to the mean of the normal maps
(computed by FFT, the template turned instead of the image) is undone.  Worth it only for parts
that move: the trainer keeps it where it lowers the deviation between normals clearly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lfv_server.engine.artifact import Arrays

Plane = NDArray[np.float32]

SIDE = 64
"""Side of the square map, in which the image's aspect is kept."""
ANGLES = 60
"""Rotations tried, evenly over the full circle: every 6 degrees, then refined."""


def foreground(pixels: NDArray[np.uint8]) -> Plane:
    """[SIDE, SIDE] distance of each position's colour from the border's median colour.

    :param pixels: uint8 [height, width, 3]
    """
    height, width = pixels.shape[:2]
    scale = SIDE / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX), np.float32)
    border = np.concatenate([small[0], small[-1], small[:, 0], small[:, -1]])
    distance = np.abs(small - np.median(border, axis=0)).sum(axis=2)
    full = np.zeros((SIDE, SIDE), dtype=np.float32)
    top, left = (SIDE - size[1]) // 2, (SIDE - size[0]) // 2
    full[top : top + size[1], left : left + size[0]] = distance
    return full


@dataclass(frozen=True)
class Pose:
    """How an image differs from the template."""

    angle: float
    """Degrees, counter-clockwise as seen."""
    dx: float
    """Shift to the right, as a fraction of the longer side."""
    dy: float


@dataclass(frozen=True)
class Aligner:
    """Turns images so that their foreground lies as the template's does."""

    template: Plane

    def __post_init__(self) -> None:
        image = Image.fromarray(self.template)
        turned = [
            np.asarray(image.rotate(360 * i / ANGLES, Image.Resampling.BILINEAR))
            for i in range(ANGLES)
        ]
        stack = np.stack([plane - plane.mean() for plane in turned])
        spectra = np.conj(np.fft.rfft2(stack, s=(SIDE, SIDE))).astype(np.complex64)
        object.__setattr__(self, "_spectra", spectra)

    _spectra: NDArray[np.complex64] = None  # type: ignore[assignment]

    def pose(self, plane: Plane) -> Pose:
        """Where the part of this foreground map lies, relative to the template."""
        spectrum = np.fft.rfft2(plane - plane.mean())
        correlation = np.fft.irfft2(self._spectra * spectrum, s=(SIDE, SIDE))
        best = correlation.reshape(ANGLES, -1).max(axis=1)
        index = int(best.argmax())
        before, here, after = best[index - 1], best[index], best[(index + 1) % ANGLES]
        bend = before - 2 * here + after
        offset = 0.5 * (before - after) / bend if bend < 0 else 0.0
        shift = int(correlation[index].argmax())
        dy, dx = _signed(shift // SIDE), _signed(shift % SIDE)
        return Pose(
            360 * (index + float(np.clip(offset, -0.5, 0.5))) / ANGLES, dx / SIDE, dy / SIDE
        )

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The image, turned and shifted back; what was outside takes the border's colour."""
        return undo(pixels, self.pose(foreground(pixels)))

    def to_arrays(self, prefix: str) -> Arrays:
        """Named arrays for the artifact."""
        return {f"{prefix}.template": self.template}

    @classmethod
    def from_arrays(cls, arrays: Arrays, prefix: str) -> Aligner:
        """Inverse of :meth:`to_arrays`."""
        return cls(np.asarray(arrays[f"{prefix}.template"], dtype=np.float32))


def _signed(shift: int) -> int:
    return shift - SIDE if shift > SIDE // 2 else shift


def undo(pixels: NDArray[np.uint8], pose: Pose) -> NDArray[np.uint8]:
    """Rotate by ``-pose.angle`` about the centre after shifting back."""
    height, width = pixels.shape[:2]
    longer = max(height, width)
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    fill = tuple(int(v) for v in np.median(border, axis=0))
    angle = np.deg2rad(pose.angle)
    cos, sin = float(np.cos(angle)), float(np.sin(angle))
    cx, cy = width / 2, height / 2
    # Pillow maps output positions to input positions; the part was turned about the centre of the
    # map by +angle (counter-clockwise on screen, y down) and then shifted.
    ox, oy = cx + pose.dx * longer, cy + pose.dy * longer
    matrix = (cos, sin, ox - cos * cx - sin * cy, -sin, cos, oy + sin * cx - cos * cy)
    turned = Image.fromarray(pixels).transform(
        (width, height),
        Image.Transform.AFFINE,
        matrix,
        resample=Image.Resampling.BILINEAR,
        fillcolor=fill,
    )
    return np.asarray(turned)


def fit_aligner(normals: list[NDArray[np.uint8]], rounds: int = 3) -> Aligner:
    """A template from normal images: the mean of their maps, each aligned to the mean before."""
    planes = [foreground(pixels) for pixels in normals]
    spread = [np.abs(plane - np.median(planes, axis=0)).sum() for plane in planes]
    aligner = Aligner(planes[int(np.argmin(spread))])
    for _ in range(rounds):
        mean = np.mean([foreground(aligner(pixels)) for pixels in normals], axis=0)
        aligner = Aligner(mean.astype(np.float32))
    return aligner


def deviation(images: list[NDArray[np.uint8]]) -> float:
    """Mean over positions of the standard deviation between images, at low resolution."""
    small = np.stack(
        [
            np.asarray(Image.fromarray(i).resize((48, 48), Image.Resampling.BOX), float)
            for i in images
        ]
    )
    return float(small.std(axis=0).mean())
