"""The analytic feature backbone as an ONNX model, built with ``onnx.helper``.

No weights are learned or downloaded: every filter is a formula. Input ``image`` is uint8
[1, height, width, 3] RGB; output ``features`` is float32 [1, channels, height / stride,
width / stride].

Per pyramid level (each half the size of the one above), from luminance: gradient magnitude,
Hessian anisotropy (ridges, cracks), both eigenvalues of the structure tensor (edges, corners),
local standard deviation, and morphological top-hats (thin bright and thin dark structures; Serra
1982); the Laplacian and the second derivatives along and across the gradient (isophote curvature:
notches and spurs on an edge); and local mean. Coloured images add opponent colours.

Levels finer than the output are pooled twice, by mean and by maximum: the mean says what a cell
is made of, the maximum keeps a defect that is one pixel wide.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
#: Written by ONNX 1.12 and later, and read by onnxruntime 1.12 and later.
IR_VERSION = 8

_OPPONENT = np.array(
    [
        [0.299, 0.587, 0.114],  # luminance
        [0.5, -0.5, 0.0],  # red against green
        [-0.25, -0.25, 0.5],  # blue against yellow
    ],
    dtype=np.float32,
)
#: Distances of the surroundings, in pixels of their level.
_RADII = (2, 4)
#: Side of local windows, in pixels of their level.
_WINDOW = 5


@dataclass(frozen=True)
class FeatureSpec:
    """What the model computes.

    Width and height must be multiples of ``2 ** (levels - 1)`` and of ``stride``; ``stride`` is a
    power of two.
    """

    width: int
    height: int
    levels: int
    stride: int
    color: bool
    #: Whether to add channels that compare each position with its surroundings in all directions
    #: at once. They distinguish a gap between two parts from the background next to a part.
    context: bool = False

    @property
    def grid(self) -> tuple[int, int]:
        """(rows, columns) of the feature maps."""
        return self.height // self.stride, self.width // self.stride

    @property
    def channels(self) -> tuple[str, ...]:
        """Name of every channel, such as ``L0 gradient max``."""
        unsigned, signed, values = _names(color=self.color, context=self.context)
        names = []
        for level in range(self.levels):
            both = [*unsigned, *signed, *values]
            if self.stride >> level > 1:
                names += [f"L{level} {name} mean" for name in both]
                names += [f"L{level} {name} max" for name in [*unsigned, *signed]]
                names += [f"L{level} {name} min" for name in signed]
            else:
                names += [f"L{level} {name}" for name in both]
        return tuple(names)


def _names(*, color: bool, context: bool) -> tuple[list[str], list[str], list[str]]:
    unsigned = ["gradient", "anisotropy", "edge", "corner", "deviation", "bright", "dark"]
    values = ["mean"]
    if color:
        unsigned += ["red-green gradient", "blue-yellow gradient"]
        values += ["red-green", "blue-yellow"]
    if context:
        bases = ["luminance", "red-green", "blue-yellow"] if color else ["luminance"]
        values += [
            f"{base} {what} {radius}"
            for base in bases
            for radius in _RADII
            for what in ("bridge above", "bridge below", "surround")
        ]
    return unsigned, ["laplacian", "curvature", "profile"], values


class GraphBuilder:
    """A list of ONNX nodes with generated names."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: dict[str, onnx.TensorProto] = {}

    def constant(self, name: str, value: NDArray[Any]) -> str:
        if name not in self.weights:
            self.weights[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def scalar(self, value: float) -> str:
        return self.constant(f"scalar_{value:g}", np.array(value, dtype=np.float32))

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        name = f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [name], name, **attributes))
        return name

    def serialise(
        self, name: str, result: str, input_shape: list[int], output_shape: list[int]
    ) -> bytes:
        """Return the model from ``image`` (uint8) to ``features`` (float32), serialised."""
        self.nodes.append(helper.make_node("Identity", [result], ["features"], "features"))
        model = helper.make_model(
            helper.make_graph(
                self.nodes,
                name,
                [helper.make_tensor_value_info("image", TensorProto.UINT8, input_shape)],
                [helper.make_tensor_value_info("features", TensorProto.FLOAT, output_shape)],
                list(self.weights.values()),
            ),
            opset_imports=[helper.make_opsetid("", OPSET)],
            producer_name="lfv",
        )
        model.ir_version = IR_VERSION
        onnx.checker.check_model(model)
        serialised: bytes = model.SerializeToString(deterministic=True)
        return serialised

    def filter(self, source: str, name: str, kernels: NDArray[np.float32]) -> str:
        """Convolve one channel with [n, k, k] kernels, edges repeated."""
        border = kernels.shape[-1] // 2
        pads = self.constant(f"pads_{border}", np.array([0, 0, border, border] * 2, dtype=np.int64))
        padded = self.add("Pad", source, pads, mode="edge")
        weight = self.constant(name, kernels[:, None].astype(np.float32))
        return self.add("Conv", padded, weight, kernel_shape=list(kernels.shape[-2:]))

    def split(self, source: str, parts: int) -> list[str]:
        names = [f"part_{len(self.nodes)}_{i}" for i in range(parts)]
        self.nodes.append(helper.make_node("Split", [source], names, names[0], axis=1))
        return names

    def shrink(self, operator: str, source: str, factor: int) -> str:
        return self.add(operator, source, kernel_shape=[factor, factor], strides=[factor, factor])

    def window(self, operator: str, source: str) -> str:
        """Return a sliding mean or maximum, by rows and then columns (10 reads instead of 25)."""
        extra = {"count_include_pad": 0} if operator == "AveragePool" else {}
        half = _WINDOW // 2
        rows = self.add(
            operator, source, kernel_shape=[_WINDOW, 1], pads=[half, 0, half, 0], **extra
        )
        return self.add(operator, rows, kernel_shape=[1, _WINDOW], pads=[0, half, 0, half], **extra)

    def root_of_squares(self, first: str, second: str) -> str:
        squares = self.add("Add", self.add("Mul", first, first), self.add("Mul", second, second))
        return self.add("Sqrt", self.add("Add", squares, self.scalar(1e-8)))


def _derivative_kernels() -> NDArray[np.float32]:
    smooth = np.array([1.0, 2.0, 1.0]) / 4
    first = np.array([-1.0, 0.0, 1.0]) / 2
    second = np.array([1.0, -2.0, 1.0])
    return np.stack(
        [
            np.outer(smooth, first),
            np.outer(first, smooth),
            np.outer(smooth, second),
            np.outer(second, smooth),
            np.outer(first, first),
        ]
    ).astype(np.float32)


def _level(
    graph: GraphBuilder, colours: str, *, color: bool
) -> tuple[list[str], list[str], list[str]]:
    """Return (unsigned, signed, values) of one level, in the order of :func:`_names`."""
    luminance, *opponents = graph.split(colours, 3) if color else [colours]
    add, mul = "Add", "Mul"
    gx, gy, xx, yy, xy = graph.split(
        graph.filter(luminance, "derivatives", _derivative_kernels()), 5
    )
    two = graph.scalar(2)
    gx2, gy2, gxy = (graph.add(mul, a, b) for a, b in ((gx, gx), (gy, gy), (gx, gy)))
    squared = graph.add(add, gx2, gy2)
    gradient = graph.add("Sqrt", graph.add(add, squared, graph.scalar(1e-8)))
    safe = graph.add(add, squared, graph.scalar(1e-4))
    cross = graph.add(mul, graph.add(mul, gxy, xy), two)
    along = graph.add(
        "Sub", graph.add(add, graph.add(mul, xx, gy2), graph.add(mul, yy, gx2)), cross
    )
    across = graph.add(add, graph.add(add, graph.add(mul, xx, gx2), graph.add(mul, yy, gy2)), cross)
    anisotropy = graph.root_of_squares(graph.add("Sub", xx, yy), graph.add(mul, xy, two))
    tensor = graph.add("Concat", gx2, gy2, gxy, axis=1)
    jxx, jyy, jxy = graph.split(graph.window("AveragePool", tensor), 3)
    trace = graph.add(add, jxx, jyy)
    spread = graph.root_of_squares(graph.add("Sub", jxx, jyy), graph.add(mul, jxy, two))
    edge = graph.add("Sqrt", graph.add(add, trace, spread))
    corner = graph.add("Sqrt", graph.add("Relu", graph.add("Sub", trace, spread)))
    mean = graph.window("AveragePool", luminance)
    mean_square = graph.window("AveragePool", graph.add(mul, luminance, luminance))
    variance = graph.add("Relu", graph.add("Sub", mean_square, graph.add(mul, mean, mean)))
    bright, dark = _top_hats(graph, luminance)
    unsigned = [gradient, anisotropy, edge, corner, graph.add("Sqrt", variance), bright, dark]
    for opponent in opponents:
        cx, cy = graph.split(graph.filter(opponent, "slopes", _derivative_kernels()[:2]), 2)
        unsigned.append(graph.root_of_squares(cx, cy))
    signed = [
        graph.add(add, xx, yy),
        graph.add("Div", along, safe),
        graph.add("Div", across, safe),
    ]
    return unsigned, signed, [mean, *opponents]


def _surroundings(graph: GraphBuilder, colours: str, spec: FeatureSpec, level: int) -> list[str]:
    """Return how each position differs from its surroundings, per colour and radius.

    Of the four pairs of opposite neighbours: the maximum of the pairs' minima and the minimum of
    their maxima (an opening and a closing by lines: positive where something lies on both sides),
    and the mean of all.
    """
    height, width = spec.height >> level, spec.width >> level
    found = []
    for base in graph.split(colours, 3) if spec.color else [colours]:
        for radius in _RADII:
            pads = graph.constant(
                f"pads_{radius}", np.array([0, 0, radius, radius] * 2, dtype=np.int64)
            )
            padded = graph.add("Pad", base, pads, mode="edge")
            diagonal = round(radius * 0.7071)
            pairs = []
            for dy, dx in ((0, radius), (radius, 0), (diagonal, diagonal), (diagonal, -diagonal)):
                ends = []
                for sign in (1, -1):
                    top, left = radius + sign * dy, radius + sign * dx
                    name = f"{level}_{top}_{left}"
                    start = graph.constant(f"start_{name}", np.array([top, left], np.int64))
                    stop = graph.constant(
                        f"stop_{name}", np.array([top + height, left + width], np.int64)
                    )
                    axes = graph.constant("axes", np.array([2, 3], np.int64))
                    ends.append(graph.add("Slice", padded, start, stop, axes))
                pairs.append(ends)
            above = graph.add("Max", *(graph.add("Min", *ends) for ends in pairs))
            below = graph.add("Min", *(graph.add("Max", *ends) for ends in pairs))
            mean = graph.add("Mean", *(end for ends in pairs for end in ends))
            found += [graph.add("Sub", other, base) for other in (above, below, mean)]
    return found


def _top_hats(graph: GraphBuilder, luminance: str) -> tuple[str, str]:
    """Return luminance minus its opening, and its closing minus luminance."""

    def maximum(source: str) -> str:
        return graph.window("MaxPool", source)

    def minimum(source: str) -> str:
        return graph.add("Neg", maximum(graph.add("Neg", source)))

    opened, closed = maximum(minimum(luminance)), minimum(maximum(luminance))
    return graph.add("Sub", luminance, opened), graph.add("Sub", closed, luminance)


Layers = Sequence[tuple[NDArray[np.float32], NDArray[np.float32]]]


def build_feature_model(
    spec: FeatureSpec, head: Layers = (), projection: NDArray[np.float32] | None = None
) -> bytes:
    """Return the model for one working size, serialised.

    Args:
        head: Layers of a pixel network, weight [inputs, outputs] and bias [outputs]; with them
            ``features`` holds its logits instead.
        projection: [channels, outputs]; with ``head``, these linear maps of the features follow the
            logits.
    """
    graph = GraphBuilder()
    pixels = graph.add("Cast", "image", to=TensorProto.FLOAT)
    planar = graph.add("Transpose", pixels, perm=[0, 3, 1, 2])
    mix = _OPPONENT if spec.color else _OPPONENT[:1]
    weight = graph.constant("opponent", (mix / 255)[:, :, None, None])
    colours = graph.add("Conv", planar, weight, kernel_shape=[1, 1])
    maps: list[str] = []
    for level in range(spec.levels):
        unsigned, signed, values = _level(graph, colours, color=spec.color)
        if spec.context:
            values += _surroundings(graph, colours, spec, level)
        everything = [*unsigned, *signed, *values]
        factor = spec.stride >> level
        if factor > 1:
            # Pool one by one: joining maps of this size first costs as much as pooling them.
            flipped = [graph.add("Neg", name) for name in signed]
            maps += [graph.shrink("AveragePool", name, factor) for name in everything]
            maps += [
                graph.shrink("MaxPool", name, factor) for name in [*unsigned, *signed, *flipped]
            ]
        elif 1 << level == spec.stride:
            maps += everything
        else:
            scale = (1 << level) // spec.stride
            scales = graph.constant(f"scale_{scale}", np.array([1, 1, scale, scale], np.float32))
            maps.append(
                graph.add(
                    "Resize",
                    graph.add("Concat", *everything, axis=1),
                    "",
                    scales,
                    mode="linear",
                    coordinate_transformation_mode="half_pixel",
                )
            )
        if level + 1 < spec.levels:
            colours = graph.shrink("AveragePool", colours, 2)
    features = plain = graph.add("Concat", *maps, axis=1)
    count = head[-1][1].size if head else len(spec.channels)
    for number, (weights, bias) in enumerate(head):
        kernel = graph.constant(f"weight_{number}", weights.T[:, :, None, None])
        shift = graph.constant(f"bias_{number}", bias)
        features = graph.add("Conv", features, kernel, shift, kernel_shape=[1, 1])
        if number + 1 < len(head):
            features = graph.add("Relu", features)
    if head and projection is not None:
        kernel = graph.constant("projection", projection.T[:, :, None, None])
        projected = graph.add("Conv", plain, kernel, kernel_shape=[1, 1])
        features = graph.add("Concat", features, projected, axis=1)
        count += projection.shape[1]
    input_shape = [1, spec.height, spec.width, 3]
    return graph.serialise("analytic_backbone", features, input_shape, [1, count, *spec.grid])
