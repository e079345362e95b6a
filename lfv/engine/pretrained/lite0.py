"""EfficientNet-Lite0 as an ONNX model: an image in, three feature maps out.

The taps are the expansions before the strides to 16 and 32, and the last bottleneck: on small sets
of images they separated defects better than the bottlenecks at those strides or the classifier's
layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Weights = Mapping[str, NDArray[Any]]
TAPS = ("stride8", "stride16", "stride32")
"""Names of the outputs."""
CHANNELS = (240, 672, 320)
"""Channels of each tap."""
MULTIPLE = 32
"""Sides of the input are multiples of this."""
MEAN, DEVIATION = 127.0, 128.0
"""What samples from 0 to 255 are scaled by."""
_EPSILON = 1e-3
_OPSET = 17


@dataclass(frozen=True)
class _Stage:
    repeats: int
    kernel: int
    stride: int
    expansion: int
    channels: int


_STAGES = (
    _Stage(1, 3, 1, 1, 16),
    _Stage(2, 3, 2, 6, 24),
    _Stage(2, 5, 2, 6, 40),
    _Stage(3, 3, 2, 6, 80),
    _Stage(3, 5, 1, 6, 112),
    _Stage(4, 5, 2, 6, 192),
    _Stage(1, 3, 1, 6, 320),
)
_TAPPED = {5: "stride8", 11: "stride16"}
"""Blocks whose expansion is an output."""


class _Builder:
    """Nodes and weights of the model under construction."""

    def __init__(self, weights: Weights) -> None:
        self._weights = weights
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []

    def node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def constant(self, name: str, value: NDArray[Any]) -> str:
        self.initializers.append(numpy_helper.from_array(value, name))
        return name

    def conv(
        self, source: str, name: str, norm: str, output: str, *, stride: int = 1, group: int = 1
    ) -> str:
        """A convolution with its batch normalisation folded in, weights stored as float16."""
        weight = np.asarray(self._weights[f"{name}.weight"], np.float64)
        gamma, beta, mean, variance = (
            np.asarray(self._weights[f"{norm}.{part}"], np.float64)
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        gain = gamma / np.sqrt(variance + _EPSILON)
        kernel = weight.shape[-1]
        before = (kernel - stride) // 2  # as TensorFlow pads even sides
        after = kernel - stride - before
        stored = self.constant(
            f"{output}.half", (weight * gain[:, None, None, None]).astype(np.float16)
        )
        wide = self.node("Cast", [stored], f"{output}.weight", to=TensorProto.FLOAT)
        bias = self.constant(f"{output}.bias", (beta - mean * gain).astype(np.float32))
        return self.node(
            "Conv",
            [source, wide, bias],
            output,
            kernel_shape=[kernel, kernel],
            strides=[stride, stride],
            pads=[before, before, after, after],
            group=group,
        )

    def relu6(self, source: str, output: str) -> str:
        return self.node("Clip", [source, "zero", "six"], output)


def build_lite0(weights: Weights) -> bytes:
    """Serialise the model.

    Its input ``image`` is uint8 [1, height, width, 3], RGB, sides multiples of ``MULTIPLE``; its
    outputs ``TAPS`` are float32 [1, channels, height / stride, width / stride].

    Raises:
        KeyError: If a weight is missing.
    """
    builder = _Builder(weights)
    builder.constant("zero", np.array(0, np.float32))
    builder.constant("six", np.array(6, np.float32))
    builder.constant("mean", np.array(MEAN, np.float32))
    builder.constant("deviation", np.array(DEVIATION, np.float32))
    x = builder.node("Transpose", ["image"], "planar", perm=[0, 3, 1, 2])
    x = builder.node("Cast", [x], "samples", to=TensorProto.FLOAT)
    x = builder.node("Sub", [x, "mean"], "centred")
    x = builder.node("Div", [x, "deviation"], "scaled")
    x = builder.conv(x, "_conv_stem", "_bn0", "stem", stride=2)
    x = builder.relu6(x, "stem.out")
    number, channels = 0, 32
    for stage in _STAGES:
        for repeat in range(stage.repeats):
            stride = stage.stride if repeat == 0 else 1
            last = number == sum(s.repeats for s in _STAGES) - 1
            output = TAPS[-1] if last else f"block{number}.out"
            x = _block(builder, x, number, channels, stage, stride, output)
            channels = stage.channels
            number += 1
    image = helper.make_tensor_value_info("image", TensorProto.UINT8, [1, "height", "width", 3])
    outputs = [
        helper.make_tensor_value_info(tap, TensorProto.FLOAT, [1, count, f"{tap}.h", f"{tap}.w"])
        for tap, count in zip(TAPS, CHANNELS, strict=True)
    ]
    body = helper.make_graph(builder.nodes, "lite0", [image], outputs, builder.initializers)
    model = helper.make_model(
        body, opset_imports=[helper.make_opsetid("", _OPSET)], producer_name="lfv"
    )
    model.ir_version = 8
    onnx.checker.check_model(model)
    serialised: bytes = model.SerializeToString()
    return serialised


def _block(
    builder: _Builder,
    source: str,
    number: int,
    channels: int,
    stage: _Stage,
    stride: int,
    output: str,
) -> str:
    """An inverted bottleneck (MobileNetV2's), without squeeze and excitation."""
    name, here = f"_blocks.{number}", f"block{number}"
    x, wide = source, channels * stage.expansion
    if stage.expansion > 1:
        x = builder.conv(x, f"{name}._expand_conv", f"{name}._bn0", f"{here}.expand")
        x = builder.relu6(x, _TAPPED.get(number, f"{here}.expanded"))
    x = builder.conv(
        x, f"{name}._depthwise_conv", f"{name}._bn1", f"{here}.deep", stride=stride, group=wide
    )
    x = builder.relu6(x, f"{here}.filtered")
    skips = stride == 1 and channels == stage.channels
    projected = f"{here}.project" if skips else output
    x = builder.conv(x, f"{name}._project_conv", f"{name}._bn2", projected)
    return builder.node("Add", [x, source], output) if skips else x
