"""Checks a user's ONNX file without running it.

A file must not refer to other files, must use only operators of the standard, must define no
functions, and must have one input, the image. For the reasons of a refusal see
:class:`~lfv.engine.errors.OnnxRejected`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import onnx
from onnx import TensorProto

from lfv.engine.custom_models.graph_edits import inputs_of
from lfv.engine.errors import OnnxRejected
from lfv.engine.onnx_safety import MAX_VALUES, first_line, parse_closed

MAX_OUTPUTS = 16
MIN_SIDE, MAX_SIDE = 16, 4096
#: Mean and deviation of ImageNet's channels, which published backbones are trained on
#: (torchvision's models document them).
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
PLAIN = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))

Numbers = tuple[float, float, float]


@dataclass(frozen=True)
class ImageInput:
    """The input of a model."""

    name: str
    #: Whether samples are uint8, 0 to 255; else float32, (sample / 255 - mean) / std.
    uint8: bool
    #: Whether the shape is [1, channels, height, width]; else [1, height, width, channels].
    planar: bool
    #: 3 for RGB, 1 for luminance.
    channels: int
    #: None if the model accepts any.
    width: int | None
    height: int | None
    mean: Numbers
    std: Numbers

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
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
    """Check a serialised model, and return its input.

    Args:
        default: Mean and deviation of the channels, unless the file's metadata contain ``lfv.mean``
            and ``lfv.std`` (three numbers separated by commas).

    Raises:
        OnnxRejected: If it cannot be used; the message says why.
    """
    model = parse_closed(body)
    try:
        onnx.checker.check_model(model)
    except Exception as error:
        raise OnnxRejected("invalid", f"Not a valid ONNX model: {first_line(error)}") from error
    _check_outputs(model.graph)
    return _image_input(model, default)


def _check_outputs(graph: Any) -> None:
    if len(graph.output) > MAX_OUTPUTS:
        raise OnnxRejected("outputs", f"It has more than {MAX_OUTPUTS} outputs.")
    for output in graph.output:
        dims = [dim.dim_value for dim in output.type.tensor_type.shape.dim]
        if math.prod(dim for dim in dims if dim > 0) > MAX_VALUES:
            raise OnnxRejected("outputs", f"Its output {output.name!r} is too large: {dims}.")


def _image_input(model: Any, default: tuple[Numbers, Numbers]) -> ImageInput:
    inputs = inputs_of(model)
    if len(inputs) != 1:
        names = ", ".join(one.name for one in inputs[:5]) or "none"
        raise OnnxRejected("input", f"It must have one input, the image; it has: {names}.")
    (source,) = inputs
    tensor = source.type.tensor_type
    if tensor.elem_type not in (TensorProto.FLOAT, TensorProto.UINT8):
        kind = TensorProto.DataType.Name(tensor.elem_type)
        raise OnnxRejected("input", f"Its input is of type {kind}; it must be FLOAT or UINT8.")
    dims = [dim.dim_value for dim in tensor.shape.dim]
    if len(dims) != 4:
        raise OnnxRejected(
            "input", f"Its input has {len(dims)} dimensions; it must have four, batch first."
        )
    if dims[0] not in (0, 1):
        raise OnnxRejected(
            "batch",
            f"It takes batches of exactly {dims[0]} images; export it with a batch of 1, or with "
            "a dynamic one.",
        )
    if dims[1] in (1, 3):
        planar, channels, height, width = True, *dims[1:]
    elif dims[3] in (1, 3):
        planar, height, width, channels = False, *dims[1:]
    else:
        raise OnnxRejected(
            "input",
            f"Its input of shape {dims} is neither [1, 3, height, width] nor "
            "[1, height, width, 3].",
        )
    for side in (width, height):
        if side and not MIN_SIDE <= side <= MAX_SIDE:
            raise OnnxRejected(
                "input",
                f"It takes images of {width or 'any'}x{height or 'any'} pixels; sides may be "
                f"{MIN_SIDE} to {MAX_SIDE}.",
            )
    properties = {one.key: one.value for one in model.metadata_props}
    mean = _numbers(properties, "lfv.mean", default[0])
    std = _numbers(properties, "lfv.std", default[1])
    if min(std) <= 0:
        raise OnnxRejected("invalid", "Its metadata lfv.std must be above zero.")
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
        raise OnnxRejected("invalid", f"Its metadata {key} is not three numbers: {text[:80]!r}.")
    return numbers


def _triple(values: Any) -> Numbers:
    first, second, third = (float(value) for value in values)
    return first, second, third
