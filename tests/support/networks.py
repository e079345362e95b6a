"""Untrained networks: random weights, without torch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lfv.engine.network.design import Design, build


class _Drawn:
    """Follows a design with numbers of channels for maps, and draws the weights it needs."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        self.weights: dict[str, NDArray[np.float32]] = {}

    def _layer(self, inputs: int, name: str, outputs: int, side: int) -> int:
        spread = (2 / (inputs * side * side)) ** 0.5
        drawn = self._random.standard_normal((outputs, inputs, side, side)) * spread
        self.weights[f"{name}.weight"] = drawn.astype(np.float32)
        bias = self._random.standard_normal(outputs) * 0.1
        self.weights[f"{name}.bias"] = bias.astype(np.float32)
        return outputs

    def conv(self, maps: int, name: str, channels: int, *, stride: int = 1) -> int:  # noqa: ARG002
        return self._layer(maps, name, channels, 3)

    def linear(self, maps: int, name: str, channels: int) -> int:
        return self._layer(maps, name, channels, 1)

    def upsample(self, maps: int) -> int:
        return maps

    def add_maps(self, first: int, second: int) -> int:
        assert first == second
        return first

    def concatenate(self, maps: Sequence[int]) -> int:
        return sum(maps)

    def max_pool(self, maps: int) -> int:
        return maps

    def average_pool(self, maps: int) -> int:
        return maps


def drawn_weights(design: Design, seed: int = 0) -> dict[str, NDArray[np.float32]]:
    """Random weights for every layer of ``design``."""
    drawn = _Drawn(seed)
    build(design, 3, drawn)
    return drawn.weights
