"""The observations from which heads learn, computed once per image.

In training an image is decoded once, at the largest size of any view, and reduced from there. A
trained model keeps only the views that it uses.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lfv.engine.alignment import Aligner
from lfv.engine.decoding import resize
from lfv.engine.descriptors import Description, describe
from lfv.engine.patch_ridge import Patches
from lfv.engine.positional import coarse
from lfv.engine.views import View, Viewer

Matrix = NDArray[np.float32]
#: Name of the small view for positional heads and grids, aligned if that helps.
OVERVIEW = "overview"
#: Name of the pixel head's view; never aligned, because masks are not.
PIXELS = "pixels"


@dataclass(frozen=True)
class Observation:
    """The features of an image."""

    #: View name to pooled features.
    descriptions: Mapping[str, Description]
    #: float32 [channels, rows, columns] of the overview, coarse; for the positional head.
    maps: Matrix | None
    #: Pooled outputs of a pixel head that has not seen this image.
    pixel_summary: Matrix | None = None
    #: [patches, channels] of the pretrained backbone, mixed, for a memory of patches.
    patches: NDArray[np.floating] | None = None
    #: All channels of its patches, for a classifier of patches.
    unmixed: Patches | None = None
    #: What defects drawn on copies add to the backbone's description, [copies, values] each.
    changes: Description | None = None


def scale(pixels: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Scale ``pixels`` to ``size`` (width, height)."""
    height, width = pixels.shape[:2]
    return pixels if (width, height) == size else resize(Image.fromarray(pixels), size)


class Observer:
    """Computes observations with a fixed set of views.

    Args:
        views: Views by name.
        aligner: Aligns the overview with the normal parts.
        onnx_models: ONNX models of the views; built if None.
        described_views: Names of the views whose maps are described; all if None.
        with_maps: Whether to keep the overview's maps.
        threads: Threads of each session.
    """

    def __init__(
        self,
        views: Mapping[str, View],
        aligner: Aligner | None,
        *,
        onnx_models: Mapping[str, bytes] | None = None,
        described_views: Collection[str] | None = None,
        with_maps: bool = True,
        threads: int = 1,
    ) -> None:
        self.views = dict(views)
        self.aligner = aligner
        self._described_views = views.keys() if described_views is None else described_views
        self._with_maps = with_maps
        self._viewers = {
            name: Viewer(view, None if onnx_models is None else onnx_models[name], threads=threads)
            for name, view in views.items()
        }

    @property
    def onnx_models(self) -> dict[str, bytes]:
        """View name to serialised ONNX model."""
        return {name: viewer.onnx_model for name, viewer in self._viewers.items()}

    @property
    def decode_size(self) -> tuple[int, int]:
        """(width, height) of the largest view, at which images are decoded."""
        return max((view.size for view in self.views.values()), key=lambda size: size[0] * size[1])

    def features(self, name: str, pixels: NDArray[np.uint8]) -> Matrix:
        """Return the feature maps of a view."""
        view = scale(pixels, self.views[name].size)
        if name == OVERVIEW and self.aligner is not None:
            view = self.aligner(view)
        return self._viewers[name](view)

    def __call__(self, pixels: NDArray[np.uint8]) -> Observation:
        """Compute the observation of uint8 [height, width, 3] of ``decode_size``."""
        descriptions: dict[str, Description] = {}
        maps: Matrix | None = None
        for name in self.views:
            if name == PIXELS:
                continue
            features = self.features(name, pixels)
            if name in self._described_views:
                descriptions[name] = describe(features, with_regions=name == OVERVIEW)
            if name == OVERVIEW and self._with_maps:
                maps = coarse(features)
        return Observation(descriptions, maps)


def statistics(observations: Sequence[Observation], view: str) -> Matrix:
    """Return [images, values] of a view."""
    return np.stack([e.descriptions[view].statistics for e in observations])


def layouts(observations: Sequence[Observation]) -> Matrix:
    """Return [images, values]: statistics and regions of the overview."""
    return np.stack(
        [
            np.concatenate([e.descriptions[OVERVIEW].statistics, e.descriptions[OVERVIEW].regions])
            for e in observations
        ]
    )


def all_maps(observations: Sequence[Observation]) -> Matrix:
    """Return [images, channels, rows, columns] of the overview."""
    return np.stack([e.maps for e in observations if e.maps is not None])
