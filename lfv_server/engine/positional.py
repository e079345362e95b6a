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
TOP_SHARES = (0.02, 0.05, 0.2)
"""Shares of the cells that the scores are means over."""


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

    def distances(self, maps: Matrix) -> Matrix:
        """Mahalanobis distance of every cell, smoothed over 3 x 3: [rows, columns]."""
        reduced = np.tensordot(self.projection.T, maps, axes=1) + self.offset[:, None, None]
        delta = (reduced - self.mean).transpose(1, 2, 0)[..., None]
        white = self.whitening @ delta
        distance = np.sqrt((white[..., 0] ** 2).mean(axis=-1))
        smooth: Matrix = ndimage.uniform_filter(distance, 3, mode="nearest")
        return smooth

    def scores(self, maps: Matrix) -> Matrix:
        """Means over the farthest cells, one per entry of ``TOP_SHARES``."""
        ordered = np.sort(self.distances(maps).ravel())[::-1]
        tops = [ordered[: max(1, round(len(ordered) * share))].mean() for share in TOP_SHARES]
        return np.array(tops, dtype=np.float32)

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
