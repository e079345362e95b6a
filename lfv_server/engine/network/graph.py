"""A trained design as an ONNX graph: normalisation folded away, operators of the standard only.

Input ``image`` is uint8 [1, height, width, 3] RGB; output ``features`` is float32 [1, classes,
rows, columns], logits, or [1, 1, 1, 1], a score.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from lfv_server.engine.graph import IR_VERSION, OPSET
from lfv_server.engine.network.design import Design, built

Weights = Mapping[str, NDArray[np.float32]]
"""``NAME.weight`` [outputs, inputs, rows, columns] and ``NAME.bias`` [outputs] of every layer."""


class _Nodes:
    """The operators of a design, as nodes."""

    def __init__(self, weights: Weights) -> None:
        self._known = weights
        self.nodes: list[onnx.NodeProto] = []
        self.stored: dict[str, onnx.TensorProto] = {}

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        name = f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [name], name, **attributes))
        return name

    def constant(self, name: str, value: NDArray[Any]) -> str:
        self.stored[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

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

    def doubled(self, maps: str) -> str:
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

    def summed(self, first: str, second: str) -> str:
        return self.add("Add", first, second)

    def joined(self, maps: Sequence[str]) -> str:
        return self.add("Concat", *maps, axis=1)

    def highest(self, maps: str) -> str:
        return self.add("GlobalMaxPool", maps)

    def average(self, maps: str) -> str:
        return self.add("GlobalAveragePool", maps)


def build_network(design: Design, weights: Weights) -> bytes:
    """The graph, serialised.

    :raises KeyError: if a layer lacks its weights.
    :raises ValueError: if a layer is of another width.
    """
    nodes = _Nodes(weights)
    planar = nodes.add(
        "Transpose", nodes.add("Cast", "image", to=TensorProto.FLOAT), perm=[0, 3, 1, 2]
    )
    step = nodes.constant("step", np.array(1 / 127.5, dtype=np.float32))
    one = nodes.constant("one", np.array(1, dtype=np.float32))
    image = nodes.add("Sub", nodes.add("Mul", planar, step), one)
    found = built(design, image, nodes)
    nodes.nodes.append(helper.make_node("Identity", [found], ["features"], "features"))
    shown, given = design.shapes
    model = helper.make_model(
        helper.make_graph(
            nodes.nodes,
            "trained_network",
            [helper.make_tensor_value_info("image", TensorProto.UINT8, shown)],
            [helper.make_tensor_value_info("features", TensorProto.FLOAT, given)],
            list(nodes.stored.values()),
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        producer_name="lfv",
    )
    model.ir_version = IR_VERSION
    onnx.checker.check_model(model)
    serialised: bytes = model.SerializeToString(deterministic=True)
    return serialised
