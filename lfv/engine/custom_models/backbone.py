"""A brought backbone beside our own features: what it sees, and its part in a model."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lfv.engine.artifact import Arrays, Contents
from lfv.engine.custom_models.acceptance import Accepted
from lfv.engine.custom_models.graphs import BackboneViewer, BroughtView
from lfv.engine.custom_models.inspection import closed
from lfv.engine.dataset import Dataset, load
from lfv.engine.descriptors import Description, describe
from lfv.engine.errors import ArtifactError, GraphRefused
from lfv.engine.pixel_head import PixelHead
from lfv.engine.pixels import PixelData
from lfv.engine.types import TrainingImage

Matrix = NDArray[np.float32]
BROUGHT = "backbone"
"""Name of the view, and of the file in the artifact."""
PIXEL_CHANNELS = 128
"""Channels that the pixel network is given; more are mixed into as many, at random."""
_HALF = 6e4
"""Largest value that float16 holds."""


@dataclass(frozen=True)
class Sight:
    """What the backbone sees in one image."""

    description: Description
    maps: NDArray[np.float16] | None
    """[channels, rows, columns] on the pixel network's grid; None without masks."""


@dataclass(frozen=True)
class Reducer:
    """Many channels mixed into few by fixed random weights, which learn nothing from any image
    (Johnson, Lindenstrauss 1984: distances stay about the same).
    """

    mix: Matrix | None
    """[channels, PIXEL_CHANNELS]; None where there are few enough."""
    grid: tuple[int, int]
    """(rows, columns) of the result."""

    @classmethod
    def of(cls, channels: int, grid: tuple[int, int]) -> Reducer:
        """For maps of so many channels."""
        if channels <= PIXEL_CHANNELS:
            return cls(None, grid)
        mix = np.random.default_rng(0).standard_normal((channels, PIXEL_CHANNELS))
        return cls((mix / np.sqrt(channels)).astype(np.float32), grid)

    def __call__(self, maps: Matrix) -> Matrix:
        """[channels, any, any] to [at most PIXEL_CHANNELS, rows, columns]."""
        few = maps if self.mix is None else np.tensordot(self.mix.T, maps, axes=1)
        size = self.grid[::-1]
        planes = [
            np.asarray(Image.fromarray(plane).resize(size, Image.Resampling.BILINEAR))
            for plane in np.ascontiguousarray(few, dtype=np.float32)
        ]
        reduced: Matrix = np.clip(np.stack(planes), -_HALF, _HALF)
        return reduced


@dataclass(frozen=True)
class Painter:
    """The pixel network's first pass on our features and the backbone's together.

    Also what the second pass needs of them.
    """

    reducer: Reducer
    head: PixelHead
    projection: Matrix
    """[channels, hidden] of the second pass."""

    def __call__(self, own: Matrix, maps: Matrix) -> tuple[Matrix, Matrix]:
        """Logits and projected features, both [any, rows, columns].

        :param own: our features, [channels, rows, columns]
        :param maps: the backbone's, on their own grid
        """
        # As in training, where features are kept as float16.
        both = np.concatenate([own, self.reducer(maps)]).astype(np.float16).astype(np.float32)
        return self.head(both), np.tensordot(self.projection.T, both, axes=1)

    def to_arrays(self) -> Arrays:
        """Named arrays for the artifact."""
        arrays: Arrays = {
            "painter.grid": np.array(self.reducer.grid, dtype=np.int32),
            "painter.projection": self.projection,
        }
        if self.reducer.mix is not None:
            arrays["painter.mix"] = self.reducer.mix
        for number, (weight, bias) in enumerate(self.head.layers):
            arrays[f"painter.{number}.weight"], arrays[f"painter.{number}.bias"] = weight, bias
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Painter | None:
        """Inverse of :meth:`to_arrays`; None where none was stored."""
        if "painter.grid" not in arrays:
            return None
        rows, columns = (int(side) for side in arrays["painter.grid"])
        layers: list[tuple[Matrix, Matrix]] = []
        while f"painter.{len(layers)}.weight" in arrays:
            name = f"painter.{len(layers)}"
            layers.append((arrays[f"{name}.weight"], arrays[f"{name}.bias"]))
        reducer = Reducer(arrays.get("painter.mix"), (rows, columns))
        return cls(reducer, PixelHead(tuple(layers)), arrays["painter.projection"])


@dataclass(frozen=True)
class BroughtBackbone:
    """A backbone's part in a trained model."""

    view: BroughtView
    graph: bytes
    painter: Painter | None = None

    def viewer(self, *, threads: int = 1) -> BackboneViewer:
        """A session for it."""
        return BackboneViewer(self.view, self.graph, threads=threads)

    def to_arrays(self) -> Arrays:
        """Named arrays for the artifact."""
        return {} if self.painter is None else self.painter.to_arrays()

    @classmethod
    def from_contents(cls, contents: Contents) -> BroughtBackbone | None:
        """The stored backbone, inspected again; None where the model has none.

        :raises ArtifactError: if its graph is not one that would be accepted.
        """
        stored: Any = contents.model.get(BROUGHT)
        if stored is None:
            return None
        graph = contents.graphs[BROUGHT]
        inspect_stored(graph)
        return cls(BroughtView.from_json(stored), graph, Painter.from_arrays(contents.arrays))


def inspect_stored(graph: bytes) -> Any:
    """The model of a graph of an artifact, which may not reach outside itself.

    :raises ArtifactError: saying how.
    """
    try:
        return closed(graph)
    except GraphRefused as error:
        raise ArtifactError(f"The model's graph is refused: {error}") from error


def look(
    data: Dataset,
    accepted: Accepted,
    grid: tuple[int, int] | None,
    executor: Executor,
) -> tuple[list[Sight], Reducer | None]:
    """Every image through the backbone, with maps for the pixel network where it has a ``grid``."""
    viewer = BackboneViewer(accepted.view, accepted.body)
    reducer: Reducer | None = None
    if grid is not None:
        first = viewer(load(data.images[0], accepted.view.size).pixels)
        reducer = Reducer.of(len(first), grid)

    def see(image: TrainingImage) -> Sight:
        maps = viewer(load(image, accepted.view.size).pixels)
        few = None if reducer is None else reducer(maps).astype(np.float16)
        return Sight(describe(maps), few)

    return list(executor.map(see, data.images)), reducer


def beside(data: Sequence[PixelData], sights: Sequence[Sight]) -> list[PixelData]:
    """Our pixel features with the backbone's below them."""
    return [
        PixelData(np.concatenate([one.features, sight.maps]), one.shares)
        for one, sight in zip(data, sights, strict=True)
        if sight.maps is not None
    ]
