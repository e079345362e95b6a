"""EfficientNet-Lite0 as an ONNX model: an image in, three feature maps out.

The outputs are the expansions before the strides to 16 and 32, and the last bottleneck. On small
sets of images they separated defects better than the bottlenecks at those strides or the
classifier's layer.

Weights and maps have 8 bits (Jacob 2018), which takes less than half the time of float32 on a CPU.
Maps after ReLU6 range from 0 to 6. Maps between the blocks are unbounded; each channel is scaled by
its deviation, which follows from the batch normalisation. No calibration images are needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from lfv.engine.pretrained.rounding import (
    Floats,
    Rounded,
    likeness,
    likeness_of_pixels,
    moments_after_relu6,
    round_filters,
    round_pointwise,
)

Weights = Mapping[str, NDArray[Any]]
#: Names of the outputs.
TAPS = ("stride8", "stride16", "stride32")
#: Channels of each tap.
CHANNELS = (240, 672, 320)
#: Sides of the input are multiples of this.
MULTIPLE = 32
#: Samples from 0 to 255 are normalised by these, which 8 bits with a zero at 127 represent exactly.
MEAN, DEVIATION = 127, 128
#: Range of maps between the blocks, in deviations.
REACH = 4.0
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
#: Blocks whose expansion is an output.
_TAPPED = {5: "stride8", 11: "stride16"}


@dataclass(frozen=True)
class _Maps:
    """A value of the graph: maps of 8 bits."""

    name: str
    step: float
    step_name: str
    zero_name: str


@dataclass(frozen=True)
class _Norm:
    """A batch normalisation."""

    gamma: Floats
    beta: Floats
    gain: Floats
    bias: Floats


class _Builder:
    """Nodes and weights of the model under construction."""

    def __init__(self, weights: Weights) -> None:
        self._weights = weights
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self._steps: dict[str, float] = {}

    def node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def constant(self, name: str, value: NDArray[Any]) -> str:
        self.initializers.append(numpy_helper.from_array(value, name))
        return name

    def maps(self, name: str, kind: str) -> _Maps:
        """Return a value of a kind that :meth:`kind` defined."""
        return _Maps(name, self._steps[kind], f"{kind}.step", f"{kind}.zero")

    def kind(self, name: str, step: float, zero: int) -> None:
        """Define a meaning of 8 bits: (value - zero) * step."""
        self.constant(f"{name}.step", np.array(step, np.float32))
        self.constant(f"{name}.zero", np.array(zero, np.uint8))
        self._steps[name] = step

    def weight(self, name: str) -> Floats:
        return np.asarray(self._weights[f"{name}.weight"], np.float64)

    def norm(self, name: str) -> _Norm:
        gamma, beta, mean, variance = (
            np.asarray(self._weights[f"{name}.{part}"], np.float64)
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        gain = gamma / np.sqrt(variance + _EPSILON)
        return _Norm(gamma, beta, gain, beta - mean * gain)

    def conv(
        self,
        source: _Maps,
        rounded: Rounded,
        bias: Floats,
        output: _Maps,
        *,
        stride: int = 1,
        group: int = 1,
    ) -> _Maps:
        """Add a convolution; values outside the range of its output are clipped."""
        name, kernel = output.name, rounded.values.shape[-1]
        before = (kernel - stride) // 2  # as TensorFlow pads even sides
        after = kernel - stride - before
        # The bias of a channel with tiny weights must not exceed 32 bits.
        total = bias + rounded.shift
        steps = np.maximum(rounded.steps, np.abs(total) / source.step / 2**30).astype(np.float32)
        values = np.where((steps > rounded.steps)[:, None, None, None], 0, rounded.values)
        self.node(
            "QLinearConv",
            [
                source.name,
                source.step_name,
                source.zero_name,
                self.constant(f"{name}.weight", values.astype(np.int8)),
                self.constant(f"{name}.weight.step", steps),
                self.constant(f"{name}.weight.zero", np.zeros(len(steps), np.int8)),
                output.step_name,
                output.zero_name,
                self.constant(
                    f"{name}.bias", np.rint(total / (steps * source.step)).astype(np.int32)
                ),
            ],
            name,
            kernel_shape=[kernel, kernel],
            strides=[stride, stride],
            pads=[before, before, after, after],
            group=group,
        )
        return output

    def plain(self, maps: _Maps, output: str) -> str:
        """Convert maps to float32."""
        return self.node("DequantizeLinear", [maps.name, maps.step_name, maps.zero_name], output)


def build_lite0(weights: Weights) -> bytes:
    """Serialise the model.

    Its input ``image`` is uint8 [1, height, width, 3], RGB, sides multiples of ``MULTIPLE``; its
    outputs ``TAPS`` are float32 [1, channels, height / stride, width / stride].

    Raises:
        KeyError: If a weight is missing.
    """
    builder = _Builder(weights)
    builder.kind("pixel", 1 / DEVIATION, MEAN)
    builder.kind("relu6", 6 / 255, 0)
    builder.kind("stream", REACH / 127, 128)
    builder.node("Transpose", ["image"], "planar", perm=[0, 3, 1, 2])
    norm = builder.norm("_bn0")
    filters = builder.weight("_conv_stem") * norm.gain[:, None, None, None]
    x = builder.conv(
        builder.maps("planar", "pixel"),
        round_filters(filters, likeness_of_pixels(filters.shape[-1])),
        norm.bias,
        builder.maps("stem", "relu6"),
        stride=2,
    )
    number, seen, spread = 0, norm, np.ones(1)
    for stage in _STAGES:
        wide = _spread(builder, number, stage)
        for repeat in range(stage.repeats):
            block = _Block(number, stage, 1 if repeat else stage.stride, bool(repeat))
            x = _block(builder, x, block, seen, spread, wide)
            number, spread = number + 1, wide
    builder.node(
        "DequantizeLinear",
        [
            x.name,
            builder.constant("last.step", (spread * x.step).astype(np.float32)),
            builder.constant("last.zero", np.full(len(spread), 128, np.uint8)),
        ],
        TAPS[-1],
        axis=1,
    )
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


def _spread(builder: _Builder, number: int, stage: _Stage) -> Floats:
    """Return the root mean square of the sum of a stage's blocks, [channels]."""
    norms = [builder.norm(f"_blocks.{number + i}._bn2") for i in range(stage.repeats)]
    spread: Floats = np.sqrt(np.sum([norm.gamma**2 + norm.beta**2 for norm in norms], axis=0))
    floored: Floats = np.maximum(spread, 0.05 * spread.mean())
    return floored


@dataclass(frozen=True)
class _Block:
    number: int
    stage: _Stage
    stride: int
    skips: bool


def _block(
    builder: _Builder, source: _Maps, block: _Block, seen: _Norm, before: Floats, after: Floats
) -> _Maps:
    """Add an inverted bottleneck (MobileNetV2's), without squeeze and excitation.

    Args:
        builder: Receives the nodes.
        source: The input, in units of ``before`` except for the first block.
        block: The block to add.
        seen: The normalisation before the filters, if the block has no expansion.
        before: [input channels] unit of each channel.
        after: [output channels] unit of each channel.
    """
    name, here = f"_blocks.{block.number}", f"block{block.number}"
    x = source
    if block.stage.expansion > 1:
        seen = builder.norm(f"{name}._bn0")
        expanding = builder.weight(f"{name}._expand_conv") * seen.gain[:, None, None, None]
        rounded = round_pointwise(expanding * before[None, :, None, None], None)
        x = builder.conv(x, rounded, seen.bias, builder.maps(f"{here}.expanded", "relu6"))
        if block.number in _TAPPED:
            builder.plain(x, _TAPPED[block.number])
    mean, variance = moments_after_relu6(seen.gamma, seen.beta)
    norm = builder.norm(f"{name}._bn1")
    filters = builder.weight(f"{name}._depthwise_conv") * norm.gain[:, None, None, None]
    x = builder.conv(
        x,
        round_filters(filters, likeness(block.stage.kernel, mean, variance)),
        norm.bias,
        builder.maps(f"{here}.filtered", "relu6"),
        stride=block.stride,
        group=len(filters),
    )
    mean, _ = moments_after_relu6(norm.gamma, norm.beta)
    norm = builder.norm(f"{name}._bn2")
    projecting = builder.weight(f"{name}._project_conv") * norm.gain[:, None, None, None]
    rounded = round_pointwise(projecting / after[:, None, None, None], mean)
    x = builder.conv(x, rounded, norm.bias / after, builder.maps(f"{here}.projected", "stream"))
    if not block.skips:
        return x
    parts = [builder.plain(x, f"{here}.part"), builder.plain(source, f"{here}.passed")]
    total = builder.maps(f"{here}.out", "stream")
    summed = builder.node("Add", parts, f"{here}.sum")
    builder.node("QuantizeLinear", [summed, total.step_name, total.zero_name], total.name)
    return total
