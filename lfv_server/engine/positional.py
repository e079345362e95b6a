"""What each position of a normal part looks like, and how far an image is from that.

A Gaussian per cell of the aligned maps over principal components of the features (PaDiM, Defard
2021), its covariance shrunk and pooled over neighbours.  Learns from normal images only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lfv_server.engine.artifact import Arrays

Matrix = NDArray[np.float32]
COMPONENTS = 16
SHRINKAGE = 0.05
_FARTHEST = 0.05
"""Share of the cells whose mean distance is the last of the statistics."""
_CELL_QUANTILES = (0.5, 0.9, 0.98, 1.0)
_AREA_QUANTILES = (0.9, 0.98, 0.995, 1.0)
_DISTANCE_QUANTILES = (0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 1.0)


def coarse(features: Matrix, factor: int = 2) -> Matrix:
    """Maps averaged over ``factor`` x ``factor`` cells."""
    channels, rows, columns = features.shape
    trimmed = features[:, : rows // factor * factor, : columns // factor * factor]
    shape = (channels, rows // factor, factor, columns // factor, factor)
    small: Matrix = trimmed.reshape(shape).mean(axis=(2, 4))
    return small


@dataclass(frozen=True)
class PositionalHead:
    """A mean and a whitening matrix per cell."""

    projection: Matrix
    """[channels, components]"""
    offset: Matrix
    """[components]"""
    mean: Matrix
    """[components, rows, columns]"""
    whitening: Matrix
    """[rows, columns, components, components], so that |W (x - mean)| is the distance."""

    @property
    def values(self) -> int:
        """How many :meth:`statistics` there are of an image."""
        components = len(self.offset)
        of_residuals = len(_CELL_QUANTILES) + len(_AREA_QUANTILES)
        return of_residuals * components + len(_DISTANCE_QUANTILES) + 1

    def residuals(self, maps: Matrix) -> Matrix:
        """What is not as usual, whitened: [components, rows, columns]."""
        channels, rows, columns = maps.shape
        reduced = self.projection.T @ maps.reshape(channels, -1) + self.offset[:, None]
        delta = reduced.reshape(-1, rows, columns) - self.mean
        white = self.whitening @ delta.transpose(1, 2, 0)[..., None]
        return np.ascontiguousarray(white[..., 0].transpose(2, 0, 1))

    @staticmethod
    def distances(residuals: Matrix) -> Matrix:
        """Mahalanobis distance of every cell, smoothed over 3 x 3: [rows, columns]."""
        distance = np.sqrt((residuals**2).mean(axis=0))
        smooth: Matrix = ndimage.uniform_filter(distance, 3, mode="nearest")
        return smooth

    def statistics(self, maps: Matrix) -> Matrix:
        """How far the image is from usual, and in which components, wherever that is.

        Logarithms of quantiles over the cells: of each component's residual, of the same smoothed
        over 3 x 3 cells, and of the distance; last the mean distance of the farthest cells, which
        sums it up in one value; [8 * components + 9].
        """
        residuals = self.residuals(maps)
        smooth = ndimage.uniform_filter(residuals, (0, 3, 3), mode="nearest")
        distances = np.sort(self.distances(residuals), axis=None)
        farthest = distances[-max(1, round(len(distances) * _FARTHEST)) :].mean()
        values = [
            _quantiles(np.abs(residuals), _CELL_QUANTILES),
            _quantiles(np.abs(smooth), _AREA_QUANTILES),
            _quantiles(distances[None], _DISTANCE_QUANTILES),
            farthest[None],
        ]
        return np.log(np.concatenate(values) + 0.01).astype(np.float32)

    def to_arrays(self, prefix: str) -> Arrays:
        """Named arrays for the artifact; the whitening as float16, which costs three digits."""
        return {
            f"{prefix}.projection": self.projection,
            f"{prefix}.offset": self.offset,
            f"{prefix}.mean": self.mean,
            f"{prefix}.whitening": self.whitening.astype(np.float16),
        }

    @classmethod
    def from_arrays(cls, arrays: Arrays, prefix: str) -> PositionalHead:
        """Inverse of :meth:`to_arrays`."""
        names = ("projection", "offset", "mean", "whitening")
        return cls(*(arrays[f"{prefix}.{name}"].astype(np.float32) for name in names))


def _quantiles(planes: Matrix, shares: tuple[float, ...]) -> Matrix:
    """Of each plane, without interpolation, flat."""
    flat = planes.reshape(len(planes), -1)
    ranks = [round((flat.shape[1] - 1) * share) for share in shares]
    return np.partition(flat, sorted(set(ranks)), axis=1)[:, ranks].ravel()


def fit_positional(normals: Matrix) -> PositionalHead:
    """Fit to the maps of normal images, [images, channels, rows, columns]."""
    images, channels, rows, columns = normals.shape
    cells = normals.transpose(0, 2, 3, 1).reshape(-1, channels)
    sample = cells[:: max(1, len(cells) // 20_000)].astype(np.float64)
    centre, scale = sample.mean(axis=0), sample.std(axis=0) + 1e-5
    z = np.clip((sample - centre) / scale, -6, 6)
    values, vectors = np.linalg.eigh(z.T @ z / len(z))
    count = min(COMPONENTS, channels)
    basis = vectors[:, ::-1][:, :count] / np.sqrt(values[::-1][:count] + 1e-3)
    projection = (basis / scale[:, None]).astype(np.float32)
    offset = (-(centre / scale) @ basis).astype(np.float32)
    reduced = (cells @ projection + offset).reshape(images, rows, columns, count)
    mean = reduced.mean(axis=0)
    delta = reduced - mean
    covariance = np.einsum("nrci,nrcj->rcij", delta, delta, optimize=True) / max(1, images - 1)
    covariance = ndimage.uniform_filter(covariance, (3, 3, 1, 1), mode="nearest")
    typical = np.trace(covariance.mean(axis=(0, 1))) / count + 1e-6
    covariance = (1 - SHRINKAGE) * covariance + SHRINKAGE * typical * np.eye(count)
    lower = np.linalg.cholesky(covariance.astype(np.float64))
    whitening = np.linalg.inv(lower).astype(np.float32)
    return PositionalHead(
        projection, offset, np.ascontiguousarray(mean.transpose(2, 0, 1)), whitening
    )
