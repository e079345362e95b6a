"""Exports a trained design as an ONNX model of standard operators.

Input ``image`` is uint8 [1, height, width, 3] RGB; output ``features`` is float32 [1, classes,
rows, columns], logits, or [1, 1, 1, 1], a score.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from lfv.engine.feature_model import GraphBuilder
from lfv.engine.network.design import Design, build

#: ``NAME.weight`` [outputs, inputs, rows, columns] and ``NAME.bias`` [outputs] of every layer.
Weights = Mapping[str, NDArray[np.float32]]


class _Nodes(GraphBuilder):
    """The operators of a design as ONNX nodes."""

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        self._known = weights

    def _conv(self, maps: str, name: str, channels: int, **attributes: Any) -> str:
        weight, bias = self._known[f"{name}.weight"], self._known[f"{name}.bias"]
        if len(weight) != channels:
            raise ValueError(f"{name} has {len(weight)} outputs instead of {channels}")
        stored = self.constant(f"{name}.weight", weight), self.constant(f"{name}.bias", bias)
        return self.add("Conv", maps, *stored, kernel_shape=list(weight.shape[2:]), **attributes)

    def conv(self, maps: str, name: str, channels: int, *, stride: int = 1) -> str:
        strides = [stride, stride]
        return self.add(
            "Relu", self._conv(maps, name, channels, strides=strides, pads=[1, 1, 1, 1])
        )

    def linear(self, maps: str, name: str, channels: int) -> str:
        return self._conv(maps, name, channels)

    def upsample(self, maps: str) -> str:
        scales = self.constant("twice", np.array([1, 1, 2, 2], dtype=np.float32))
        return self.add(
            "Resize",
            maps,
            "",
            scales,
            mode="nearest",
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        )

    def add_maps(self, first: str, second: str) -> str:
        return self.add("Add", first, second)

    def concatenate(self, maps: Sequence[str]) -> str:
        return self.add("Concat", *maps, axis=1)

    def max_pool(self, maps: str) -> str:
        return self.add("GlobalMaxPool", maps)

    def average_pool(self, maps: str) -> str:
        return self.add("GlobalAveragePool", maps)


def build_network(design: Design, weights: Weights) -> bytes:
    """Return the model, serialised.

    Raises:
        KeyError: If a layer has no weights.
        ValueError: If a layer has another number of outputs.
    """
    nodes = _Nodes(weights)
    planar = nodes.add(
        "Transpose", nodes.add("Cast", "image", to=TensorProto.FLOAT), perm=[0, 3, 1, 2]
    )
    step = nodes.constant("step", np.array(1 / 127.5, dtype=np.float32))
    one = nodes.constant("one", np.array(1, dtype=np.float32))
    image = nodes.add("Sub", nodes.add("Mul", planar, step), one)
    found = build(design, image, nodes)
    return nodes.serialise("trained_network", found, *design.shapes)
