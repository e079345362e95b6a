"""A second look at a mask: the pixel network again, told what the first pass saw around.

Whether a dark gap is a crack or the ground beside the part depends on what lies on its sides
(auto-context, Tu 2008).  The surroundings are the first pass's anomaly probability, blurred, and
opened and closed by lines of three lengths in four directions; none depends on orientation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lfv_server.engine.artifact import Arrays
from lfv_server.engine.pixel_head import PixelHead, log_probabilities

Matrix = NDArray[np.float32]
RADII = (4, 8, 14)
"""Distances of opposite neighbours, in cells."""
BLURS = (10, 20)
"""Standard deviations of wide blurs, in cells."""
CHANNELS = 1 + 4 * len(RADII) + len(BLURS)


def surroundings(logits: Matrix) -> Matrix:
    """[classes, rows, columns] to [CHANNELS, rows, columns]."""
    anomaly = 1 - np.exp(log_probabilities(logits)[0])
    first = ndimage.gaussian_filter(anomaly, 0.7)
    found = [first]
    for radius in RADII:
        smooth = ndimage.gaussian_filter(first, radius / 3)
        padded = np.pad(smooth, radius, mode="edge")
        diagonal = round(radius * 0.7071)
        pairs = [
            [_shifted(padded, radius, sign * dy, sign * dx, smooth.shape) for sign in (1, -1)]
            for dy, dx in ((0, radius), (radius, 0), (diagonal, diagonal), (diagonal, -diagonal))
        ]
        ends = [end for pair in pairs for end in pair]
        found += [
            np.max([np.minimum(*pair) for pair in pairs], axis=0),
            np.min([np.maximum(*pair) for pair in pairs], axis=0),
            np.mean(ends, axis=0),
            np.max(ends, axis=0),
        ]
    found += [ndimage.gaussian_filter(first, blur, truncate=2.0) for blur in BLURS]
    return np.stack(found).astype(np.float32)


def _shifted(padded: Matrix, border: int, dy: int, dx: int, shape: tuple[int, ...]) -> Matrix:
    top, left = border + dy, border + dx
    return padded[top : top + shape[0], left : left + shape[1]]


def with_surroundings(features: Matrix, logits: Matrix) -> Matrix:
    """Input of the second pass: features, then surroundings."""
    return np.concatenate([features, surroundings(logits)])


@dataclass(frozen=True)
class Refiner:
    """The second pass, its first layer split: the part on features runs in the ONNX graph."""

    head: PixelHead

    @property
    def projection(self) -> Matrix:
        """[channels, hidden]: what the graph computes from the features."""
        return self.head.layers[0][0][:-CHANNELS]

    def __call__(self, projected: Matrix, logits: Matrix) -> Matrix:
        """Refined logits, [classes, rows, columns].

        :param projected: [hidden, rows, columns], the features through ``projection``.
        """
        rows, columns = logits.shape[1:]
        (_, bias), *layers = self.head.layers
        x = self._context.T @ surroundings(logits).reshape(CHANNELS, -1)
        x += projected.reshape(len(projected), -1)
        x += bias[:, None]
        for weight, shift in layers:
            np.maximum(x, 0, out=x)
            x = weight.T @ x + shift[:, None]
        return x.reshape(-1, rows, columns)

    @property
    def _context(self) -> Matrix:
        return self.head.layers[0][0][-CHANNELS:]

    def to_arrays(self) -> Arrays:
        """Named arrays for the artifact, without what the graph holds."""
        arrays: Arrays = {"refine.0.weight": self._context, "refine.0.bias": self.head.layers[0][1]}
        for number, (weight, bias) in enumerate(self.head.layers[1:], 1):
            arrays[f"refine.{number}.weight"], arrays[f"refine.{number}.bias"] = weight, bias
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Refiner:
        """Inverse of :meth:`to_arrays`; the result can only be called, not built into a graph."""
        layers: list[tuple[Matrix, Matrix]] = []
        while f"refine.{len(layers)}.weight" in arrays:
            number = len(layers)
            layers.append(
                (
                    np.asarray(arrays[f"refine.{number}.weight"], dtype=np.float32),
                    np.asarray(arrays[f"refine.{number}.bias"], dtype=np.float32),
                )
            )
        if not layers or len(layers[0][0]) != CHANNELS:
            raise KeyError("refine")
        return cls(PixelHead(tuple(layers)))
