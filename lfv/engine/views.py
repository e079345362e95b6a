"""A view of an image: its size, whether it is aligned first, and its features.

Training compares views. Small ones show form, large ones show defects a few pixels wide. Large
views are computed in tiles of at most a megapixel, so that memory is bounded for any image size.
Features are pooled over all tiles.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lfv.engine.feature_model import FeatureSpec, build_feature_model
from lfv.engine.onnx_session import Features, OnnxSession

MAX_TILE_PIXELS = 1024 * 1024
#: Sides of tiles are multiples of this, so that all pyramid levels have whole pixels.
_MULTIPLE = 32


@dataclass(frozen=True)
class View:
    """Working size and tiling for images of one size."""

    #: Images are scaled to this width, and then padded with their edges to whole tiles.
    width: int
    height: int
    tile: FeatureSpec
    tiles_across: int = 1
    tiles_down: int = 1

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) an image is scaled to."""
        return self.width, self.height

    @property
    def full_width(self) -> int:
        """Pixels of all tiles together, from left to right."""
        return self.tile.width * self.tiles_across

    @property
    def full_height(self) -> int:
        """Pixels of all tiles together, from top to bottom."""
        return self.tile.height * self.tiles_down

    @property
    def grid(self) -> tuple[int, int]:
        """(rows, columns) of the feature maps."""
        rows, columns = self.tile.grid
        return rows * self.tiles_down, columns * self.tiles_across

    def to_json(self) -> dict[str, Any]:
        """Return plain numbers."""
        tile = self.tile
        return {
            "size": [self.width, self.height],
            "tile": [tile.width, tile.height],
            "levels": tile.levels,
            "stride": tile.stride,
            "color": tile.color,
            "context": tile.context,
            "tiles": [self.tiles_across, self.tiles_down],
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> View:
        """Inverse of :meth:`to_json`."""
        tile = FeatureSpec(
            width=int(value["tile"][0]),
            height=int(value["tile"][1]),
            levels=int(value["levels"]),
            stride=int(value["stride"]),
            color=bool(value["color"]),
            context=bool(value["context"]),
        )
        (width, height), (across, down) = value["size"], value["tiles"]
        return cls(int(width), int(height), tile, int(across), int(down))


def view_for(
    width: int,
    height: int,
    long_side: int,
    *,
    stride: int,
    levels: int,
    color: bool,
    context: bool = False,
    whole: bool = False,
) -> View:
    """Return the view of ``width`` x ``height`` images with a longer side of about ``long_side``.

    Images are never enlarged. At their own size they are padded instead of scaled, so that details
    one pixel wide are preserved.

    Args:
        whole: Scale to whole tiles instead, so that all positions of the maps are in the image.
    """
    scale = min(1.0, long_side / max(width, height))
    wide, high = width * scale, height * scale
    across = down = 1
    while (wide / across) * (high / down) > MAX_TILE_PIXELS:
        if wide / across >= high / down:
            across += 1
        else:
            down += 1
    pad = scale == 1.0 and not whole
    rounded = np.ceil if pad else np.round
    tile = FeatureSpec(
        max(_MULTIPLE, int(rounded(wide / across / _MULTIPLE)) * _MULTIPLE),
        max(_MULTIPLE, int(rounded(high / down / _MULTIPLE)) * _MULTIPLE),
        levels,
        stride,
        color,
        context,
    )
    if pad:
        return View(width, height, tile, across, down)
    return View(tile.width * across, tile.height * down, tile, across, down)


class Viewer:
    """Computes the feature maps of one view."""

    def __init__(self, view: View, onnx_model: bytes | None = None, *, threads: int = 1) -> None:
        self.view = view
        self.onnx_model = build_feature_model(view.tile) if onnx_model is None else onnx_model
        self._session = OnnxSession(self.onnx_model, threads=threads)

    def __call__(self, pixels: NDArray[np.uint8]) -> Features:
        """Map uint8 [height, width, 3] of the view's size to [channels, rows, columns]."""
        view = self.view
        missing = view.full_height - pixels.shape[0], view.full_width - pixels.shape[1]
        if any(missing):
            pixels = np.pad(pixels, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="edge")
        if view.tiles_across == view.tiles_down == 1:
            return self._session(pixels)
        high, wide = view.tile.height, view.tile.width
        strips = []
        for row in range(view.tiles_down):
            strip = pixels[row * high : (row + 1) * high]
            tiles = [
                self._session(np.ascontiguousarray(strip[:, i * wide : (i + 1) * wide]))
                for i in range(view.tiles_across)
            ]
            strips.append(np.concatenate(tiles, axis=2))
        return np.concatenate(strips, axis=1)
