"""Aligns parts that lie at any position and angle with the normal ones.

The image is reduced to a small map of the distance of each position's colour from the border's.
First, the rotation and shift with the highest circular cross-correlation with the mean of the
normal maps are found by FFT, turning the template instead of the image. They are then refined on a
finer map by least squares (Lucas, Kanade 1981), with bounded outliers so that a missing piece does
not shift the rest. Training uses alignment only if it clearly lowers the deviation between normals,
because it pays only for parts that move.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import fft, ndimage

from lfv.engine.artifact import Arrays

Plane = NDArray[np.float32]

#: Side of the square map, which keeps the image's aspect.
SIDE = 64
#: Rotations tried, evenly over the full circle: every 6 degrees, then refined.
ANGLES = 60
#: Side of the map on which a pose is refined.
FINE_SIDE = 128
#: Maximum number of iterations of the refinement, which ends earlier when a step is smaller than
#: this share of a unit.
_STEPS = 6
_SMALLEST_STEP = 0.03
#: One unit of the refinement: degrees, and shift as a fraction of the side.
_UNITS = np.array([1.0, 1 / FINE_SIDE, 1 / FINE_SIDE])


def foreground(pixels: NDArray[np.uint8], side: int = SIDE) -> Plane:
    """Return the distance of each position's colour from the border's median, [side, side].

    Args:
        pixels: Uint8 [height, width, 3].
    """
    height, width = pixels.shape[:2]
    scale = side / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX), np.float32)
    border = np.concatenate([small[0], small[-1], small[:, 0], small[:, -1]])
    red, green, blue = np.abs(small - np.median(border, axis=0)).transpose(2, 0, 1)
    distance = red + green + blue  # in a fifth of the time of a sum over three
    full = np.zeros((side, side), dtype=np.float32)
    top, left = (side - size[1]) // 2, (side - size[0]) // 2
    full[top : top + size[1], left : left + size[0]] = distance
    return full


@dataclass(frozen=True)
class Pose:
    """An image's rotation and shift relative to the template."""

    #: Degrees, counter-clockwise as seen.
    angle: float
    #: Shift to the right, as a fraction of the longer side.
    dx: float
    dy: float


class Aligner:
    """Turns and shifts images so that their foreground matches the template's.

    Args:
        template: [SIDE, SIDE] mean foreground of the normal images.
        fine: [FINE_SIDE, FINE_SIDE], the same; without it poses are not refined.
    """

    def __init__(self, template: Plane, fine: Plane | None = None) -> None:
        self.template, self.fine = template, fine
        image = Image.fromarray(template)
        turned = [
            np.asarray(image.rotate(360 * i / ANGLES, Image.Resampling.BILINEAR))
            for i in range(ANGLES)
        ]
        stack = np.stack([plane - plane.mean() for plane in turned])
        self._spectra = np.conj(fft.rfft2(stack)).astype(np.complex64)
        if fine is not None:
            self._smooth = _blur(fine)
            moved = [
                (_undo_map(self._smooth, unit) - _undo_map(self._smooth, -unit)).ravel() / 2
                for unit in np.diag(_UNITS)
            ]
            self._slopes = np.stack(moved)
            self._tolerance = 0.5 * float(np.abs(self._smooth).mean()) + 1e-6

    def pose(self, pixels: NDArray[np.uint8]) -> Pose:
        """Find the pose of the part in this image, relative to the template."""
        found = self._coarse(foreground(pixels))
        if self.fine is None:
            return found
        return self._refine(_blur(foreground(pixels, FINE_SIDE)), found)

    def _coarse(self, plane: Plane) -> Pose:
        # SciPy transforms several planes at once with vector instructions.
        spectrum = fft.rfft2(plane - plane.mean())
        correlation = fft.irfft2(self._spectra * spectrum, s=(SIDE, SIDE))
        best = correlation.reshape(ANGLES, -1).max(axis=1)
        index = int(best.argmax())
        before, here, after = best[index - 1], best[index], best[(index + 1) % ANGLES]
        bend = before - 2 * here + after
        offset = 0.5 * (before - after) / bend if bend < 0 else 0.0
        shift = int(correlation[index].argmax())
        dy, dx = _to_signed(shift // SIDE), _to_signed(shift % SIDE)
        return Pose(
            360 * (index + float(np.clip(offset, -0.5, 0.5))) / ANGLES, dx / SIDE, dy / SIDE
        )

    def _refine(self, plane: Plane, start: Pose) -> Pose:
        """Refine by Gauss-Newton steps, halving those that do not improve the fit."""
        best = np.array([start.angle, start.dx, start.dy])
        step, least = np.zeros(3), np.inf
        for _ in range(_STEPS):
            difference = (_undo_map(plane, best + step) - self._smooth).ravel()
            size = np.abs(difference)
            cost = float(np.minimum(size, 3 * self._tolerance).mean())
            if cost >= least:
                step = step / 2
            else:
                best, least = best + step, cost
                weighted = self._slopes / np.maximum(1, size / self._tolerance)
                curvature = weighted @ self._slopes.T + 1e-3 * np.eye(3)
                pull = -(weighted @ difference)
                step = _UNITS * np.clip(np.linalg.solve(curvature, pull), -3, 3)
            if np.abs(step / _UNITS).max() < _SMALLEST_STEP:
                break
        return Pose(*(float(value) for value in best))

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Turn and shift an image back, filling with the border's colour."""
        return undo(pixels, self.pose(pixels))

    def to_arrays(self, prefix: str) -> Arrays:
        """Return named arrays for the artifact."""
        arrays = {f"{prefix}.template": self.template}
        if self.fine is not None:
            arrays[f"{prefix}.fine"] = self.fine
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Arrays, prefix: str) -> Aligner:
        """Inverse of :meth:`to_arrays`."""
        fine = arrays.get(f"{prefix}.fine")
        return cls(
            np.asarray(arrays[f"{prefix}.template"], dtype=np.float32),
            None if fine is None else np.asarray(fine, dtype=np.float32),
        )


def _blur(plane: Plane) -> Plane:
    return np.asarray(ndimage.gaussian_filter(plane, 0.7), dtype=np.float32)


def _undo_map(plane: Plane, pose: NDArray[np.float64]) -> Plane:
    """Undo the pose (angle, dx, dy) of a square map, filling with 0."""
    side = len(plane)
    turned = Image.fromarray(plane).transform(
        (side, side),
        Image.Transform.AFFINE,
        _matrix(Pose(*pose), side, side),
        resample=Image.Resampling.BILINEAR,
    )
    return np.asarray(turned, dtype=np.float32)


def _to_signed(shift: int) -> int:
    return shift - SIDE if shift > SIDE // 2 else shift


def undo(pixels: NDArray[np.uint8], pose: Pose) -> NDArray[np.uint8]:
    """Rotate by ``-pose.angle`` about the centre after shifting back."""
    height, width = pixels.shape[:2]
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    fill = tuple(int(v) for v in np.median(border, axis=0))
    turned = Image.fromarray(pixels).transform(
        (width, height),
        Image.Transform.AFFINE,
        _matrix(pose, width, height),
        resample=Image.Resampling.BILINEAR,
        fillcolor=fill,
    )
    return np.asarray(turned)


def _matrix(pose: Pose, width: int, height: int) -> tuple[float, float, float, float, float, float]:
    """Return Pillow's coefficients from output to input positions.

    The part was turned about the centre by +angle (counter-clockwise on screen, y down) and then
    shifted.
    """
    longer = max(height, width)
    angle = np.deg2rad(pose.angle)
    cos, sin = float(np.cos(angle)), float(np.sin(angle))
    cx, cy = width / 2, height / 2
    ox, oy = cx + pose.dx * longer, cy + pose.dy * longer
    return cos, sin, ox - cos * cx - sin * cy, -sin, cos, oy + sin * cx - cos * cy


def fit_aligner(normals: list[NDArray[np.uint8]]) -> Aligner:
    """Build a template from normal images: the mean of their maps, aligned one after the other."""
    planes = [foreground(pixels) for pixels in normals]
    spread = [np.abs(plane - np.median(planes, axis=0)).sum() for plane in planes]
    aligner = Aligner(planes[int(np.argmin(spread))])
    for _ in range(3):
        mean = np.mean([foreground(aligner(pixels)) for pixels in normals], axis=0)
        aligner = Aligner(mean.astype(np.float32))
    for _ in range(2):
        fine = np.mean([foreground(aligner(pixels), FINE_SIDE) for pixels in normals], axis=0)
        aligner = Aligner(aligner.template, fine.astype(np.float32))
    return aligner


def deviation(images: list[NDArray[np.uint8]]) -> float:
    """Return the mean over positions of the deviation between images, at low resolution."""
    small = np.stack(
        [
            np.asarray(Image.fromarray(i).resize((48, 48), Image.Resampling.BOX), float)
            for i in images
        ]
    )
    return float(small.std(axis=0).mean())
