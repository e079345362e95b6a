"""Whether a graph from outside may come in, as far as can be told without running it.

Only what is written in the file itself counts: no data beside it, no operators but the standard's,
no functions of its own, one image in.  Everything is refused by name, see
:class:`~lfv.engine.errors.GraphRefused`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import onnx
from onnx import TensorProto

from lfv.engine.errors import GraphRefused

DOMAINS = ("", "ai.onnx", "ai.onnx.ml")
"""Operator sets of the ONNX standard; the first two are one."""
MAX_NODES = 20_000
"""Of the graph and all graphs in it (a large published backbone has about 2,000)."""
MAX_DEPTH = 8
"""Graphs within graphs (bodies of If, Loop and Scan)."""
MAX_VALUES = 1 << 26
"""Numbers in one declared output or expanded sparse tensor: 256 MiB of float32."""
MAX_OUTPUTS = 16
MIN_SIDE, MAX_SIDE = 16, 4096
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Mean and deviation of ImageNet's channels, which published backbones are trained on
(torchvision's models document them)."""
PLAIN = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))

Numbers = tuple[float, float, float]


@dataclass(frozen=True)
class ImageInput:
    """How a graph takes its image."""

    name: str
    uint8: bool
    """Samples 0 to 255 as they are; else float32, (sample / 255 - mean) / std."""
    planar: bool
    """[1, channels, height, width]; else [1, height, width, channels]."""
    channels: int
    """3, RGB, or 1, luminance."""
    width: int | None
    """None where the graph takes any."""
    height: int | None
    mean: Numbers
    std: Numbers

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "name": self.name,
            "uint8": self.uint8,
            "planar": self.planar,
            "channels": self.channels,
            "width": self.width,
            "height": self.height,
            "mean": list(self.mean),
            "std": list(self.std),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ImageInput:
        """Inverse of :meth:`to_json`."""
        width, height = value["width"], value["height"]
        return cls(
            name=str(value["name"]),
            uint8=bool(value["uint8"]),
            planar=bool(value["planar"]),
            channels=int(value["channels"]),
            width=None if width is None else int(width),
            height=None if height is None else int(height),
            mean=_triple(value["mean"]),
            std=_triple(value["std"]),
        )


def inspect(body: bytes, default: tuple[Numbers, Numbers] = PLAIN) -> ImageInput:
    """Check a serialised model and tell how it takes an image.

    :param default: mean and deviation of the channels where the file's metadata
        (``lfv.mean``, ``lfv.std``: three numbers with commas between) name none.
    :raises GraphRefused: naming what is wrong with it.
    """
    model = closed(body)
    try:
        onnx.checker.check_model(model)
    except Exception as error:
        raise GraphRefused("invalid", f"It is no valid ONNX model: {first_line(error)}") from error
    _check_outputs(model.graph)
    return _image_input(model, default)


def closed(body: bytes) -> Any:
    """The model of ``body``, which names nothing outside itself and is of bounded size.

    :raises GraphRefused: ``not_onnx``, ``external_data``, ``foreign_domain`` or ``too_complex``.
    """
    try:
        model = onnx.load_model_from_string(body)
    except Exception as error:
        raise GraphRefused("not_onnx", "It is not an ONNX file, or is cut short.") from error
    if not model.graph.node or not model.graph.output:
        raise GraphRefused("not_onnx", "It holds no graph, or is cut short.")
    if model.functions:
        raise GraphRefused(
            "foreign_domain",
            f"It defines functions of its own, in the domain {model.functions[0].domain!r}; "
            "export it with its functions inlined.",
        )
    if len(model.training_info):
        raise GraphRefused("invalid", "It holds graphs for training; export it for inference.")
    nodes = 0
    for graph, depth in _graphs(model.graph, 0):
        nodes += len(graph.node)
        if nodes > MAX_NODES:
            raise GraphRefused("too_complex", f"It has more than {MAX_NODES} nodes.")
        if depth > MAX_DEPTH:
            raise GraphRefused("too_complex", f"It nests graphs more than {MAX_DEPTH} deep.")
        for node in graph.node:
            if node.domain not in DOMAINS:
                raise GraphRefused(
                    "foreign_domain",
                    f"Its node {node.name or node.op_type!r} is of the operator domain "
                    f"{node.domain!r}; only ai.onnx and ai.onnx.ml are run.",
                )
        for tensor in _tensors(graph):
            _check_tensor(tensor, len(body))
        for sparse in _sparse(graph):
            if _elements(sparse.dims) > MAX_VALUES:
                raise GraphRefused("too_complex", "It has a sparse tensor of absurd size.")
    return model


def first_line(error: Exception) -> str:
    """An error of onnx or onnxruntime, short."""
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__


def _graphs(graph: Any, depth: int) -> Iterator[tuple[Any, int]]:
    """The graph and those in it.  Not recursive: who writes the file sets the depth."""
    waiting = [(graph, depth)]
    while waiting:
        found, level = waiting.pop()
        yield found, level
        for node in found.node:
            for attribute in node.attribute:
                inner = [attribute.g] if attribute.HasField("g") else []
                waiting += [(one, level + 1) for one in (*inner, *attribute.graphs)]


def _tensors(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for sparse in _sparse(graph):
        yield sparse.values
        yield sparse.indices
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors


def _sparse(graph: Any) -> Iterator[Any]:
    yield from graph.sparse_initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("sparse_tensor"):
                yield attribute.sparse_tensor
            yield from attribute.sparse_tensors


def _check_tensor(tensor: Any, size: int) -> None:
    if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
        raise GraphRefused(
            "external_data",
            f"Its tensor {tensor.name!r} lies in another file; save the model as one file "
            "(onnx.save without external data).",
        )
    if _elements(tensor.dims) > 2 * size:  # four bits is the least that a number takes
        raise GraphRefused(
            "too_complex", f"Its tensor {tensor.name!r} claims more numbers than the file holds."
        )


def _elements(dims: Any) -> int:
    if any(dim < 0 for dim in dims):
        raise GraphRefused("invalid", "It has a tensor with a negative dimension.")
    return math.prod(dims)


def _check_outputs(graph: Any) -> None:
    if len(graph.output) > MAX_OUTPUTS:
        raise GraphRefused("outputs", f"It has more than {MAX_OUTPUTS} outputs.")
    for output in graph.output:
        dims = [dim.dim_value for dim in output.type.tensor_type.shape.dim]
        if math.prod(dim for dim in dims if dim > 0) > MAX_VALUES:
            raise GraphRefused("outputs", f"Its output {output.name!r} is of absurd size: {dims}.")


def _image_input(model: Any, default: tuple[Numbers, Numbers]) -> ImageInput:
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [one for one in model.graph.input if one.name not in weights]
    if len(inputs) != 1:
        names = ", ".join(one.name for one in inputs[:5]) or "none"
        raise GraphRefused("input", f"It must have one input, the image; it has: {names}.")
    (source,) = inputs
    tensor = source.type.tensor_type
    if tensor.elem_type not in (TensorProto.FLOAT, TensorProto.UINT8):
        kind = TensorProto.DataType.Name(tensor.elem_type)
        raise GraphRefused("input", f"Its input is of type {kind}; it must be FLOAT or UINT8.")
    dims = [dim.dim_value for dim in tensor.shape.dim]
    if len(dims) != 4:
        raise GraphRefused(
            "input", f"Its input has {len(dims)} dimensions; an image has four, batch first."
        )
    if dims[0] not in (0, 1):
        raise GraphRefused(
            "batch",
            f"It takes batches of exactly {dims[0]} images; export it with a batch of 1, or with "
            "a dynamic one.",
        )
    if dims[1] in (1, 3):
        planar, channels, height, width = True, *dims[1:]
    elif dims[3] in (1, 3):
        planar, height, width, channels = False, *dims[1:]
    else:
        raise GraphRefused(
            "input",
            f"Its input of shape {dims} is neither [1, 3, height, width] nor "
            "[1, height, width, 3].",
        )
    for side in (width, height):
        if side and not MIN_SIDE <= side <= MAX_SIDE:
            raise GraphRefused(
                "input",
                f"It takes images of {width or 'any'}x{height or 'any'} pixels; sides may be "
                f"{MIN_SIDE} to {MAX_SIDE}.",
            )
    properties = {one.key: one.value for one in model.metadata_props}
    mean = _numbers(properties, "lfv.mean", default[0])
    std = _numbers(properties, "lfv.std", default[1])
    if min(std) <= 0:
        raise GraphRefused("invalid", "Its metadata lfv.std must be above zero.")
    return ImageInput(
        name=source.name,
        uint8=tensor.elem_type == TensorProto.UINT8,
        planar=planar,
        channels=channels,
        width=width or None,
        height=height or None,
        mean=mean,
        std=std,
    )


def _numbers(properties: Mapping[str, str], key: str, default: Numbers) -> Numbers:
    text = properties.get(key)
    if text is None:
        return default
    try:
        numbers = _triple([float(part) for part in text.split(",")])
    except ValueError:
        numbers = (math.nan,) * 3
    if not all(map(math.isfinite, numbers)):
        raise GraphRefused("invalid", f"Its metadata {key} is not three numbers: {text[:80]!r}.")
    return numbers


def _triple(values: Any) -> Numbers:
    first, second, third = (float(value) for value in values)
    return first, second, third
