"""The first phase of training: computes the observations of all images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lfv.engine.alignment import Aligner
from lfv.engine.observations import OVERVIEW, PIXELS, Observation, Observer, scale
from lfv.engine.pixels import PixelData
from lfv.engine.training.checks import THUMBNAIL, border_of
from lfv.engine.training.dataset import Dataset, load, load_shares
from lfv.engine.training.grouping import identity, signature
from lfv.engine.training.plan import overview_of, pixel_view_of
from lfv.engine.types import TrainingImage
from lfv.engine.views import View


@dataclass(frozen=True)
class Observed:
    """The observations of all images by one observer."""

    observations: tuple[Observation, ...]
    pixels: tuple[PixelData, ...]
    #: The view for masks; None if no mask shows anything.
    pixel_view: View | None
    signatures: NDArray[np.float32]
    identities: NDArray[np.int64]
    borders: NDArray[np.float32]

    @property
    def shares(self) -> list[NDArray[np.float16] | None]:
        """The share of each class in each cell, by image; None if unknown."""
        return [known.shares for known in self.pixels]

    @property
    def shows_anomalies(self) -> bool:
        """Whether any mask shows an anomaly."""
        return any(d.shares is not None and bool(d.shares[1:].any()) for d in self.pixels)

    @property
    def grid(self) -> tuple[int, int] | None:
        """(rows, columns) of the pixel network; None without masks."""
        return None if self.pixel_view is None else self.pixel_view.grid


def observe(
    data: Dataset, aligner: Aligner | None, executor: Executor, progress: Callable[[float], None]
) -> Observed:
    """Compute the overview of every image and, with masks, its pixel features."""
    views = {OVERVIEW: overview_of(data)}
    pixel_view = pixel_view_of(data) if data.anomaly_types else None
    if pixel_view is not None:
        views[PIXELS] = pixel_view
    observer = Observer(views, aligner)

    def look(
        image: TrainingImage,
    ) -> tuple[Observation, PixelData | None, NDArray[np.uint8], np.int64]:
        pixels = load(image, observer.decode_size).pixels
        observations = observer(pixels)
        known = None
        if pixel_view is not None:
            features = observer.features(PIXELS, pixels).astype(np.float16)
            known = PixelData(features, load_shares(image, data.type_names, pixel_view.grid))
        return observations, known, scale(pixels, THUMBNAIL), identity(pixels)

    rows = []
    for number, row in enumerate(executor.map(look, data.images)):
        rows.append(row)
        progress((number + 1) / len(data.images))
    return Observed(
        tuple(row[0] for row in rows),
        tuple(row[1] for row in rows if row[1] is not None),
        pixel_view,
        np.stack([signature(row[2]) for row in rows]),
        np.array([row[3] for row in rows]),
        np.stack([border_of(row[2]) for row in rows]),
    )


def add_details(
    data: Dataset, observations: Sequence[Observation], details: dict[str, View], executor: Executor
) -> list[Observation]:
    """Add larger views to the observations."""
    observer = Observer(details, None)

    def look(image: TrainingImage) -> Observation:
        return observer(load(image, observer.decode_size).pixels)

    return [
        replace(old, descriptions={**old.descriptions, **new.descriptions})
        for old, new in zip(observations, executor.map(look, data.images), strict=True)
    ]
