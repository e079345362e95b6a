"""Features of a backbone, in addition to the engine's own, for verdicts and masks.

A backbone turns an image into feature maps: the pretrained one, or a user's ONNX file. The engine's
core uses it through the protocols below.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lfv.engine.artifact import Arrays
from lfv.engine.descriptors import Description
from lfv.engine.ensemble import BACKBONE, FEW_IMAGES
from lfv.engine.heat_map import UsualCells, moments
from lfv.engine.metrics import Bools
from lfv.engine.observations import Observation
from lfv.engine.patch_ridge import StoredPatches
from lfv.engine.patches import patches_of
from lfv.engine.pixel_head import Committee, PixelHead
from lfv.engine.pixels import PixelData
from lfv.engine.training.dataset import Dataset, load
from lfv.engine.types import TrainingImage

Matrix = NDArray[np.float32]
#: Channels for the pixel network; if there are more, it gets their principal components.
PIXEL_CHANNELS = 128
#: Images from which the principal components are learned.
COMPONENT_IMAGES = 32
#: Cells of each map sampled from each of these images.
COMPONENT_CELLS = 80
#: Steps of the subspace iteration that finds principal components.
_ITERATIONS = 6
#: Directions that it follows in addition, so that the wanted ones converge.
_SPARE = 16
#: Least variance of a component, as a share of that of the first.
_LEAST_VARIANCE = 2e-5
#: Largest value that float16 holds.
_HALF = 6e4


class MapExtractor(Protocol):
    """A backbone in a session."""

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the images it takes."""

    def __call__(self, pixels: NDArray[np.uint8], /) -> tuple[Matrix, ...]:
        """Map uint8 [height, width, 3] to maps, float32 [channels, rows, columns] each."""


class Backbone(Protocol):
    """A backbone without a session, as stored in a model."""

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) an image is scaled to."""

    @property
    def onnx_model(self) -> bytes:
        """The serialised ONNX model."""

    @property
    def name(self) -> str:
        """Its name at the start of sentences."""

    @property
    def sha256(self) -> str:
        """SHA-256 of the ONNX model, in hex."""

    @property
    def is_gated(self) -> bool:
        """Whether a model uses it only after a clear gain."""

    def open(self, *, threads: int = 1) -> MapExtractor:
        """Open a session."""

    def describe(self, maps: tuple[Matrix, ...]) -> Description:
        """Pool the maps of an image."""

    def to_json(self) -> Mapping[str, Any]:
        """Return its entry in the artifact's description."""


@dataclass(frozen=True)
class BackboneFeatures:
    """A backbone's features of one image."""

    description: Description
    #: [channels, rows, columns] on the pixel network's grid; None without masks.
    maps: NDArray[np.float16] | None
    #: Mean and mean square of every channel, [2, channels].
    moments: Matrix
    #: [patches, channels] mixed, for a memory of normal patches.
    patches: NDArray[np.floating] | None = None
    #: All channels of the patches, for a classifier of patches.
    unmixed: StoredPatches | None = None


@dataclass(frozen=True)
class Reducer:
    """Projects many channels onto their principal components."""

    #: [channels, fewer channels] for each map; empty if the maps have few channels.
    mixes: tuple[Matrix, ...]
    #: (rows, columns) of the result.
    grid: tuple[int, int]

    @classmethod
    def of(cls, samples: Sequence[Matrix], grid: tuple[int, int]) -> Reducer:
        """Learn from cells of each map, [cells, channels] each."""
        channels = [sample.shape[1] for sample in samples]
        if sum(channels) <= PIXEL_CHANNELS:
            return cls((), grid)
        share = PIXEL_CHANNELS / sum(channels)
        counts = [max(1, round(count * share)) for count in channels]
        pairs = zip(samples, counts, strict=True)
        return cls(tuple(_principal(sample, count) for sample, count in pairs), grid)

    def __call__(self, taps: Sequence[Matrix]) -> Matrix:
        """Reduce maps, [channels, any, any] each, to [about PIXEL_CHANNELS, rows, columns]."""
        few = list(taps)
        if self.mixes:
            pairs = zip(self.mixes, taps, strict=True)
            few = [np.tensordot(mix.T, maps, axes=1) for mix, maps in pairs]
        reduced: Matrix = np.concatenate([_resize(maps, self.grid) for maps in few])
        return np.clip(reduced, -_HALF, _HALF, out=reduced)


def _principal(sample: Matrix, count: int) -> Matrix:
    """Return the first ``count`` principal components of rows, or fewer, [channels, components].

    Directions in which the rows hardly vary are left out: standardised, they would magnify whatever
    is new in another image.
    """
    centred = sample - sample.mean(axis=0)
    random = np.random.default_rng(0)
    wanted = min(count + _SPARE, sample.shape[1])
    basis: Matrix = random.standard_normal((sample.shape[1], wanted)).astype(np.float32)
    for _ in range(_ITERATIONS):
        basis, _ = np.linalg.qr(centred.T @ (centred @ basis))
    seen = centred @ basis
    variances, vectors = np.linalg.eigh(seen.T @ seen)
    telling = int((variances > _LEAST_VARIANCE * variances[-1]).sum())
    components: Matrix = basis @ vectors[:, ::-1][:, : max(1, min(count, telling))]
    return np.ascontiguousarray(components)


def _resize(maps: Matrix, grid: tuple[int, int]) -> Matrix:
    """Scale maps bilinearly by two matrix products, in a fifth of Pillow's time."""
    down, across = (_bilinear(old, new) for old, new in zip(maps.shape[1:], grid, strict=True))
    wide = maps.astype(np.float32, copy=False) @ across.T
    resized: Matrix = down @ wide
    return resized


@lru_cache(maxsize=64)
def _bilinear(old: int, new: int) -> Matrix:
    """Return Pillow's scaling of a line of ``old`` cells as a matrix, [new, old]."""
    unit = Image.fromarray(np.eye(old, dtype=np.float32))
    return np.asarray(unit.resize((old, new), Image.Resampling.BILINEAR, None))


@dataclass(frozen=True)
class Painter:
    """The pixel network's first pass on the engine's features and the backbone's together.

    Also computes the features that the second pass needs.
    """

    reducer: Reducer
    head: Committee
    #: [channels, hidden] of the second pass; only in models of release 0.1.0.
    projection: Matrix

    def __call__(self, own: Matrix, maps: Sequence[Matrix]) -> tuple[Matrix, Matrix]:
        """Return logits and projected features, both [any, rows, columns].

        Args:
            own: The engine's features, [channels, rows, columns].
            maps: The backbone's maps, each on its own grid.
        """
        shape, count = own.shape[1:], len(own)
        first = self._first
        # Networks that see only the engine's own features come last.
        reach = int(np.flatnonzero(first[:, count:].any(axis=1)).max(initial=-1)) + 1
        reduced = self.reducer(maps).reshape(first.shape[1] - count, -1)
        hidden = first[:, :count] @ own.reshape(count, -1)
        hidden[:reach] += first[:reach, count:] @ reduced
        begin, logits = 0, []
        for (_, bias), *layers in (head.layers for head in self.head.heads):
            x = hidden[begin : begin + len(bias)]
            begin += len(bias)
            x += bias[:, None]
            for weight, shift in layers:
                np.maximum(x, 0, out=x)
                x = weight.T @ x
                x += shift[:, None]
            logits.append(x)
        mean: Matrix = np.mean(logits, axis=0)
        return mean.reshape(-1, *shape), hidden[begin:].reshape(-1, *shape)

    @cached_property
    def _first(self) -> Matrix:
        """First layers of the networks, and the projection: [hidden, channels]."""
        firsts = [head.layers[0][0] for head in self.head.heads]
        return np.concatenate([*firsts, self.projection], axis=1).T.copy()

    def to_arrays(self) -> Arrays:
        """Return named arrays for the artifact."""
        arrays: Arrays = {
            "painter.grid": np.array(self.reducer.grid, dtype=np.int32),
            "painter.projection": self.projection,
        }
        arrays |= {_mix_name(n): mix for n, mix in enumerate(self.reducer.mixes)}
        for index, head in enumerate(self.head.heads):
            for number, (weight, bias) in enumerate(head.layers):
                name = f"painter{index or ''}.{number}"
                arrays[f"{name}.weight"], arrays[f"{name}.bias"] = weight, bias
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Painter | None:
        """Inverse of :meth:`to_arrays`; None if none is stored."""
        if "painter.grid" not in arrays:
            return None
        rows, columns = (int(side) for side in arrays["painter.grid"])
        heads: list[PixelHead] = []
        while f"painter{len(heads) or ''}.0.weight" in arrays:
            prefix = f"painter{len(heads) or ''}"
            layers: list[tuple[Matrix, Matrix]] = []
            while (name := f"{prefix}.{len(layers)}") + ".weight" in arrays:
                layers.append((arrays[f"{name}.weight"], arrays[f"{name}.bias"]))
            heads.append(PixelHead(tuple(layers)))
        mixes: list[Matrix] = []
        while _mix_name(len(mixes)) in arrays:
            mixes.append(arrays[_mix_name(len(mixes))])
        reducer = Reducer(tuple(mixes), (rows, columns))
        return cls(reducer, Committee(tuple(heads)), arrays["painter.projection"])


def _mix_name(number: int) -> str:
    return f"painter.mix{number or ''}"


def extract_features(
    data: Dataset,
    backbone: Backbone,
    grid: tuple[int, int] | None,
    executor: Executor,
    *,
    with_patches: bool = False,
) -> tuple[list[BackboneFeatures], Reducer | None]:
    """Run the backbone on every image; with a ``grid``, also compute maps for the pixel network.

    Args:
        data: The images.
        backbone: A backbone; the pretrained one if ``with_patches``.
        grid: (rows, columns) of the pixel network; None without masks.
        executor: Runs the backbone.
        with_patches: Whether to keep patches: for a classifier if some images are anomalous, and
            for a memory of normal ones if few are.
    """
    extract = backbone.open()
    reducer = None if grid is None else Reducer.of(_cells(data, extract, executor), grid)
    classifies = with_patches and bool(data.truth.any())
    compares = with_patches and min(data.truth.sum(), (~data.truth).sum()) < FEW_IMAGES

    def features_of(image: TrainingImage) -> BackboneFeatures:
        maps = extract(load(image, backbone.size).pixels)
        few = None if reducer is None else reducer(maps).astype(np.float16)
        patches = patches_of(maps).astype(np.float16) if compares else None
        unmixed = StoredPatches.of(maps, len(data.images)) if classifies else None
        return BackboneFeatures(backbone.describe(maps), few, moments(maps), patches, unmixed)

    return list(executor.map(features_of, data.images)), reducer


def _cells(data: Dataset, extract: MapExtractor, executor: Executor) -> list[Matrix]:
    """Return random cells of each map, [cells, channels] each, of images spread over the data."""
    count = len(data.images)
    chosen = np.unique(np.linspace(0, count - 1, min(count, COMPONENT_IMAGES)).astype(int))

    def some(number: int) -> list[Matrix]:
        random = np.random.default_rng(number)
        found = []
        for maps in extract(load(data.images[number], extract.size).pixels):
            flat = maps.reshape(len(maps), -1)
            found.append(flat[:, random.permutation(flat.shape[1])[:COMPONENT_CELLS]].T)
        return found

    rows = executor.map(some, chosen.tolist())
    return [np.concatenate(parts) for parts in zip(*rows, strict=True)]


def with_backbone(
    observations: Sequence[Observation], features: Sequence[BackboneFeatures]
) -> tuple[Observation, ...]:
    """Add the backbone's features to the observations."""
    return tuple(
        replace(
            one,
            descriptions={**one.descriptions, BACKBONE: extra.description},
            patches=extra.patches,
            unmixed=extra.unmixed,
        )
        for one, extra in zip(observations, features, strict=True)
    )


def usual_cells(features: Sequence[BackboneFeatures], truth: Bools) -> UsualCells:
    """Learn the usual values of the backbone's features, for heat maps."""
    pairs = zip(features, truth, strict=True)
    return UsualCells.of(one.moments for one, is_anomalous in pairs if not is_anomalous)


def append_features(
    data: Sequence[PixelData], features: Sequence[BackboneFeatures]
) -> list[PixelData]:
    """Append the backbone's maps to the engine's pixel features."""
    return [
        PixelData(np.concatenate([one.features, extra.maps]), one.shares)
        for one, extra in zip(data, features, strict=True)
        if extra.maps is not None
    ]
