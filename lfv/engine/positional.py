"""Models the appearance of normal parts at each position, and measures deviations from it.

Both measures use principal components of the aligned maps' features. A Gaussian per cell (PaDiM,
Defard 2021), with its covariance shrunk and pooled over neighbours, describes what is usual on
average. The nearest normal image at each cell (like PatchCore, Roth 2022, but by position) covers
parts that are normal in several ways, such as cells of two makes. Uses normal images only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lfv.engine.artifact import StoredFields

Matrix = NDArray[np.float32]
COMPONENTS = 16
SHRINKAGE = 0.05
#: Weight of the mean covariance of all cells, for comparisons with single images.
POOLING = 0.3
#: Normal images kept for comparison.
KEPT = 48
#: Names of the last two statistics of an image.
SUMS = ("distance", "nearest")
#: Share of the farthest cells whose mean distance is the last statistic.
_FARTHEST = 0.05
_CELL_QUANTILES = (0.5, 0.9, 0.98, 1.0)
_AREA_QUANTILES = (0.9, 0.98, 0.995, 1.0)
_DISTANCE_QUANTILES = (0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 1.0)
#: Share of the cells whose mean difference from the nearest normal image is a statistic.
_UNLIKE = 0.01


def coarse(features: Matrix, factor: int = 2) -> Matrix:
    """Average maps over ``factor`` x ``factor`` cells."""
    _, rows, columns = features.shape
    trimmed = features[:, : rows // factor * factor, : columns // factor * factor]
    # Sums of slices take a tenth of the time of a mean over two axes.
    flat: Matrix = np.add.reduce([trimmed[:, n::factor] for n in range(factor)])
    small: Matrix = np.add.reduce([flat[..., n::factor] for n in range(factor)])
    small /= factor**2
    return small


@dataclass(frozen=True)
class PositionalHead(StoredFields):
    """A mean and a whitening matrix per cell."""

    HALVES = frozenset({"whitening", "comparing", "kept"})

    #: [channels, components]
    projection: Matrix
    #: [components]
    offset: Matrix
    #: [components, rows, columns]
    mean: Matrix
    #: [rows, columns, components, components], so that |W (x - mean)| is the distance.
    whitening: Matrix
    #: The same, with a covariance pooled over all cells by ``POOLING``.
    comparing: Matrix
    #: [normal images, rows, columns, components], each whitened by ``comparing``.
    kept: Matrix

    @property
    def values(self) -> int:
        """The number of :meth:`statistics` of an image."""
        components = len(self.offset)
        of_residuals = len(_CELL_QUANTILES) + len(_AREA_QUANTILES)
        return of_residuals * components + 2 * len(_DISTANCE_QUANTILES) + len(SUMS)

    def reduce(self, maps: Matrix) -> Matrix:
        """Return the principal components of an image's maps: [components, rows, columns]."""
        channels, rows, columns = maps.shape
        flat: Matrix = self.projection.T @ maps.reshape(channels, -1) + self.offset[:, None]
        return flat.reshape(-1, rows, columns)

    def residuals(self, reduced: Matrix) -> Matrix:
        """Return the whitened deviations from the mean: [components, rows, columns]."""
        white = _times(self.whitening, (reduced - self.mean).transpose(1, 2, 0))
        return np.ascontiguousarray(white.transpose(2, 0, 1))

    def differences(self, reduced: Matrix) -> Matrix:
        """Return each cell's distance from the nearest normal image there, smoothed over 3 x 3:
        [rows, columns].
        """
        white = _times(self.comparing, reduced.transpose(1, 2, 0))
        nearest = np.min([((white - one) ** 2).mean(axis=2) for one in self.kept], axis=0)
        smooth: Matrix = ndimage.uniform_filter(np.sqrt(nearest), 3, mode="nearest")
        return smooth

    @staticmethod
    def distances(residuals: Matrix) -> Matrix:
        """Return each cell's Mahalanobis distance, smoothed over 3 x 3: [rows, columns]."""
        distance = np.sqrt((residuals**2).mean(axis=0))
        smooth: Matrix = ndimage.uniform_filter(distance, 3, mode="nearest")
        return smooth

    def statistics(self, maps: Matrix) -> Matrix:
        """Return how far the image deviates, and in which components, regardless of where.

        These are logarithms of quantiles over the cells: of each component's residual, of the same
        smoothed over 3 x 3 cells, of the distance and of the difference from the nearest normal
        image; last, the two summaries ``SUMS``. [8 * components + 18].
        """
        reduced = self.reduce(maps)
        residuals = self.residuals(reduced)
        smooth = ndimage.uniform_filter(residuals, (0, 3, 3), mode="nearest")
        distances, differences = self.distances(residuals), self.differences(reduced)
        values = [
            _quantiles(np.abs(residuals), _CELL_QUANTILES),
            _quantiles(np.abs(smooth), _AREA_QUANTILES),
            _quantiles(np.stack([distances, differences]), _DISTANCE_QUANTILES),
            _highest(distances, _FARTHEST),
            _highest(differences, _UNLIKE),
        ]
        logarithms: Matrix = np.log(np.concatenate(values) + 0.01).astype(np.float32)
        return logarithms


def _times(matrices: Matrix, vectors: Matrix) -> Matrix:
    """Multiply each cell's matrix by its vector: [rows, columns, components]."""
    product: Matrix = (matrices @ vectors[..., None])[..., 0]
    return product


def _highest(plane: Matrix, share: float) -> Matrix:
    """Return the mean of a plane's highest values, [1]."""
    take = max(1, round(plane.size * share))
    mean: Matrix = np.partition(plane, -take, axis=None)[-take:].mean(keepdims=True)
    return mean


def _quantiles(planes: Matrix, shares: tuple[float, ...]) -> Matrix:
    """Return quantiles of each plane, without interpolation, as a flat array."""
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
    pooled = (1 - POOLING) * covariance + POOLING * covariance.mean(axis=(0, 1))
    comparing = _whitening(pooled)
    kept = reduced[:: max(1, images // KEPT)][:KEPT]
    return PositionalHead(
        projection,
        offset,
        np.ascontiguousarray(mean.transpose(2, 0, 1)),
        _whitening(covariance),
        comparing,
        np.stack([_times(comparing, one) for one in kept]),
    )


def _whitening(covariance: Matrix) -> Matrix:
    """Return [rows, columns, components, components] that whiten the shrunk covariances."""
    count = covariance.shape[-1]
    typical = np.trace(covariance.mean(axis=(0, 1))) / count + 1e-6
    shrunk = (1 - SHRINKAGE) * covariance + SHRINKAGE * typical * np.eye(count)
    lower = np.linalg.cholesky(shrunk.astype(np.float64))
    return np.linalg.inv(lower).astype(np.float32)
