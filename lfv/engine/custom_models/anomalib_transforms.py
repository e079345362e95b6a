"""How anomalib prepares images for a model that it exported.

Versions 0.x describe the transform (resize, centre crop, normalisation) in a file next to the
graph. From 1.0 on, the graph contains it, accepts images of any size, and does not declare the size
or the crop. In both cases maps cover only the crop. This module stores the normalisation as
metadata of the file, gives the input the size that images are resized to, and pads maps to the
whole image.

Source: `to_onnx` and `export` of anomalib 0.3 to 2.3, and albumentations' `to_dict`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto, helper

from lfv.engine.custom_models import inspection, trial
from lfv.engine.custom_models.graph_edits import free_output, image_of, rename_uses
from lfv.engine.errors import OnnxRejected
from lfv.onnx_files import ANOMALIB_METADATA

#: Height and width.
Size = tuple[int, int]
_MAX_BYTES = 1 << 20
#: The first opset whose Pad has its margins in a tensor; anomalib never exported an older one.
_OPSET = 11
#: An unusual size that is not square, so that a size fixed by the graph can be recognised.
_PROBE = (352, 288)
_POINTWISE = frozenset({"Cast", "Identity", "Sub", "Div", "Mul", "Add", "Clip", "Resize", "Slice"})


def add_transform(model: Any, folder: Path) -> bool:
    """Add the transform that a file in ``folder`` describes to the model.

    Returns:
        Whether there is such a file.

    Raises:
        OnnxRejected: ``transform``, if a step is unknown.
    """
    steps = _read_steps(folder)
    image = image_of(model)
    if not steps or image is None:
        return False
    transform = _Transform()
    for name, values in steps:
        try:
            known = transform.add(name, values)
        except (KeyError, TypeError, ValueError):
            known = False
        if not known:
            raise OnnxRejected(
                "transform",
                f"The step {name[:40]!r} of the transform in {ANOMALIB_METADATA[0]} next to it is "
                "not supported; export the model with resize, centre crop and normalisation only.",
            )
    props = {one.key: one.value for one in model.metadata_props}
    for key, numbers in (("lfv.mean", transform.mean), ("lfv.std", transform.std)):
        props.setdefault(key, ",".join(map(repr, numbers)))
    helper.set_model_props(model, props)
    if transform.resized and transform.cropped:
        _crop(model, image, transform.resized, transform.cropped)
    return True


@dataclass
class _Transform:
    """The combined effect of albumentations' steps."""

    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    resized: Size | None = None
    cropped: Size | None = None

    def add(self, name: str, values: Mapping[str, Any]) -> bool:
        """Apply a step; return whether it is known.

        Raises:
            KeyError, TypeError, ValueError: If its arguments are invalid.
        """
        if name == "Resize":
            self.resized = int(values["height"]), int(values["width"])
        elif name == "CenterCrop" and self.resized:
            self.cropped = int(values["height"]), int(values["width"])
        elif name == "Normalize":
            white = float(values.get("max_pixel_value", 255.0)) / 255
            self.mean, self.std = _triple(values["mean"], white), _triple(values["std"], white)
        elif name == "ToFloat":
            self.std = _triple([1.0] * 3, float(values.get("max_value") or 255.0) / 255)
        else:
            return name in ("ToTensorV2", "NoOp")
        return True


def _read_steps(folder: Path) -> list[tuple[str, Mapping[str, Any]]]:
    """Return names and arguments of albumentations' transforms; empty if no file describes any."""
    for name in ANOMALIB_METADATA:
        try:
            if (folder / name).stat().st_size > _MAX_BYTES:
                continue
            steps = json.loads((folder / name).read_bytes())["transform"]["transform"]["transforms"]
            return [(str(one["__class_fullname__"]).rpartition(".")[2], one) for one in steps]
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return []


def _triple(values: Any, scale: float) -> tuple[float, float, float]:
    first, second, third = (float(value) * scale for value in values)
    return first, second, third


def _crop(model: Any, image: Any, resized: Size, cropped: Size) -> None:
    """Let the model accept the image before the crop, and crop it."""
    dims = image.type.tensor_type.shape.dim
    if len(dims) != 4 or (dims[2].dim_value, dims[3].dim_value) != cropped:
        return
    del model.graph.value_info[:]
    dims[2].dim_value, dims[3].dim_value = resized
    inner = rename_uses(model, image.name)
    starts = [(whole - part) // 2 for whole, part in zip(resized, cropped, strict=True)]
    ends = [start + part for start, part in zip(starts, cropped, strict=True)]
    names = [f"{inner}.{what}" for what in ("starts", "ends", "axes")]
    for name, values in zip(names, (starts, ends, [2, 3]), strict=True):
        model.graph.initializer.append(helper.make_tensor(name, TensorProto.INT64, [2], values))
    model.graph.node.insert(0, helper.make_node("Slice", [image.name, *names], [inner]))


def show_whole_image(body: bytes) -> bytes:
    """Return the model with the size it resizes images to as input size, and with uncropped maps.

    A model whose resizing or cropping cannot be determined is returned unchanged.
    """
    try:
        model = onnx.load_model_from_string(body)
        source = inspection.inspect(body)
        resized, seen = _tensors_of_image(model)
        if not seen or not source.planar or _opset(model) < _OPSET:
            return body
        fed = (source.height or _PROBE[0], source.width or _PROBE[1])
        shapes = _try_out(body, source, fed, {**resized, **seen})
    except OnnxRejected:
        return body
    whole = _sides(shapes, resized) or fed
    part = _sides(shapes, seen) or whole
    changed = False
    if source.width is None or source.height is None:
        if whole[0] * fed[1] == whole[1] * fed[0]:
            return body  # it does not resize
        dims = image_of(model).type.tensor_type.shape.dim  # type: ignore[union-attr]
        dims[2].dim_value, dims[3].dim_value = whole
        changed = True
    if part != whole and part[0] <= whole[0] and part[1] <= whole[1]:
        changed = _pad_maps(model, shapes, part, whole) or changed
    if not changed:
        return body
    del model.graph.value_info[:]
    return bytes(model.SerializeToString())


def _tensors_of_image(model: Any) -> tuple[dict[str, int], dict[str, int]]:
    """Return name and element type of the image after its last Resize, and before the network."""
    image = image_of(model)
    if image is None:
        return {}, {}
    resized: dict[str, int] = {}
    name, kind = image.name, image.type.tensor_type.elem_type
    moved = False
    while True:
        uses = [one for one in model.graph.node if name in one.input and one.op_type != "Shape"]
        if len(uses) != 1 or uses[0].op_type not in _POINTWISE or uses[0].input[0] != name:
            return resized, {name: kind} if moved else {}
        (node,) = uses
        name = node.output[0]
        if node.op_type == "Cast":
            kind = next(one.i for one in node.attribute if one.name == "to")
        moved = moved or node.op_type in ("Resize", "Slice")
        if node.op_type == "Resize":
            resized = {name: kind}


def _try_out(
    body: bytes, source: inspection.ImageInput, fed: Size, wanted: Mapping[str, int]
) -> dict[str, trial.Output]:
    """Run the model on an image of this size; return its outputs and the ``wanted`` tensors."""
    probe = onnx.load_model_from_string(body)
    del probe.graph.value_info[:]
    present = {one.name for one in probe.graph.output}
    for name, kind in wanted.items():
        if name not in present:
            probe.graph.output.append(helper.make_tensor_value_info(name, kind, [None] * 4))
    tried = trial.try_out(bytes(probe.SerializeToString()), source, (fed[1], fed[0]))
    return {one.name: one for one in tried.outputs}


def _sides(shapes: Mapping[str, trial.Output], names: Mapping[str, int]) -> Size | None:
    for name in names:
        if len(shape := shapes[name].shape) == 4:
            return shape[2], shape[3]
    return None


def _pad_maps(model: Any, shapes: Mapping[str, trial.Output], part: Size, whole: Size) -> bool:
    """Pad outputs of the crop's size to the whole image, with their lowest value."""
    graph = model.graph
    tops = [(all_ - some) // 2 for all_, some in zip(whole, part, strict=True)]
    ends = [all_ - some - top for all_, some, top in zip(whole, part, tops, strict=True)]
    changed = False
    for output in graph.output:
        found = shapes[output.name]
        rank = len(found.shape)
        if not found.kind.startswith("float") or rank < 2 or found.shape[-2:] != part:
            continue
        inner = free_output(model, output.name)
        pads, lowest = f"{inner}.pads", f"{inner}.lowest"
        values = [0] * (rank - 2) + tops + [0] * (rank - 2) + ends
        graph.initializer.append(helper.make_tensor(pads, TensorProto.INT64, [2 * rank], values))
        graph.node.append(helper.make_node("ReduceMin", [inner], [lowest], keepdims=0))
        graph.node.append(helper.make_node("Pad", [inner, pads, lowest], [output.name]))
        for dim, side in zip(output.type.tensor_type.shape.dim[-2:], whole, strict=False):
            dim.dim_value = side
        changed = True
    return changed


def _opset(model: Any) -> int:
    return max(
        (one.version for one in model.opset_import if one.domain in ("", "ai.onnx")), default=0
    )
