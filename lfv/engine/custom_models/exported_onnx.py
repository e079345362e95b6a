"""Merges an exporter's files into one ONNX file that accepts one image.

Exporters store weights in a file next to the graph, fix the batch size, use half precision
(anomalib 2 does all three), or store the transform of images separately (anomalib 0.x). The result
is checked like any other file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto, helper

from lfv.engine.custom_models import inspection, trial
from lfv.engine.custom_models.acceptance import DETECTOR_SIDE, read_onnx
from lfv.engine.custom_models.anomalib_transforms import add_transform, show_whole_image
from lfv.engine.custom_models.graph_edits import free_output, image_of, rename_uses
from lfv.engine.errors import OnnxRejected
from lfv.engine.onnx_safety import tensors_of
from lfv.onnx_files import find_onnx_file

MAX_BATCH = 64
#: Formats of other programs: file extensions and names.
_FOREIGN = {
    "openvino": ((".xml", ".bin"), "an OpenVINO model"),
    "torch": ((".pt", ".pth", ".ckpt"), "a PyTorch model"),
}


def read_export(path: Path, limit: int) -> bytes:
    """Return one ONNX file of at most ``limit`` bytes that includes its weights, for one image.

    Args:
        path: An ONNX file, or a folder with one and its weights.

    Raises:
        OnnxRejected: ``unreadable``, ``too_large``, ``openvino``, ``torch``, ``external_data`` or
            ``transform``.
    """
    _refuse_foreign(path)
    try:
        file = find_onnx_file(path)
    except (OSError, ValueError) as error:
        raise OnnxRejected("unreadable", f"{error}.") from error
    body = read_onnx(file, limit)
    try:
        model = onnx.load_model_from_string(body)
    except Exception:  # noqa: BLE001 (the inspection reports the problem)
        return body
    changed = _read_weights(model, file, limit - len(body))
    changed = _accept_float32(model) or changed
    changed = add_transform(model, file.parent) or changed
    if (batch := _batch(model)) > 1:
        body = _take_single_image(model, batch)
    elif changed:
        body = bytes(model.SerializeToString())
    return show_whole_image(body)


def _refuse_foreign(path: Path) -> None:
    """Raise OnnxRejected for another program's file, or a folder with one and no ONNX file."""
    files = [path]
    if path.is_dir():
        files = list(path.rglob("*"))
        if any(file.suffix == ".onnx" for file in files):
            return
    for reason, (endings, what) in _FOREIGN.items():
        if any(file.suffix in endings for file in files):
            raise OnnxRejected(
                reason,
                f"It is {what}; export the model as ONNX instead, with anomalib by "
                "`anomalib export --export_type onnx`.",
            )


def _read_weights(model: Any, file: Path, limit: int) -> bool:
    """Move weights from other files into the model; return whether there were any."""
    found = False
    for tensor in tensors_of(model.graph):
        if tensor.data_location != TensorProto.EXTERNAL:
            continue
        found = True
        entries = {entry.key: entry.value for entry in tensor.external_data}
        data = _slice(file, entries, limit)
        limit -= len(data)
        tensor.raw_data = data
        tensor.data_location = TensorProto.DEFAULT
        del tensor.external_data[:]
    return found


def _slice(file: Path, entries: dict[str, str], limit: int) -> bytes:
    location = entries.get("location", "")
    # Neither paths nor links, which could lead anywhere on this machine.
    if not location or Path(location).name != location:
        raise OnnxRejected("external_data", f"Its weights are not beside it: {location[:80]!r}.")
    beside = file.parent / location
    if beside.is_symlink() or not beside.is_file():
        raise OnnxRejected(
            "external_data",
            f"Its weights are in {location[:80]!r}, which is not beside it; keep the files "
            "together, and give the folder or the ONNX file in it.",
        )
    try:
        offset = int(entries.get("offset", "0"))
        length = int(entries.get("length", beside.stat().st_size - offset))
        if length > limit:
            raise OnnxRejected("too_large", "With its weights it is larger than the limit.")
        with beside.open("rb") as weights:
            weights.seek(offset)
            data = weights.read(max(length, 0))
    except (OSError, ValueError) as error:
        raise OnnxRejected("external_data", f"Its weights cannot be read: {error}.") from error
    if len(data) != length:
        raise OnnxRejected("external_data", f"Its weights in {location[:80]!r} are truncated.")
    return data


def _batch(model: Any) -> int:
    """Return the fixed batch size of the model; 0 if it is not fixed or too large."""
    image = image_of(model)
    if image is None:
        return 0
    dims = image.type.tensor_type.shape.dim
    batch = int(dims[0].dim_value) if len(dims) == 4 else 0
    return batch if batch <= MAX_BATCH else 0


def _accept_float32(model: Any) -> bool:
    """Convert a half-precision input to float32; return whether it was half precision."""
    image = image_of(model)
    if image is None or image.type.tensor_type.elem_type != TensorProto.FLOAT16:
        return False
    image.type.tensor_type.elem_type = TensorProto.FLOAT
    half = rename_uses(model, image.name)
    model.graph.node.insert(
        0, helper.make_node("Cast", [image.name], [half], to=TensorProto.FLOAT16)
    )
    return True


def _take_single_image(model: Any, batch: int) -> bytes:
    """Return the model for one image.

    If the model depends on the batch size, it repeats the image and returns the first result.
    """
    plain = onnx.ModelProto()
    plain.CopyFrom(model)
    del plain.graph.value_info[:]
    names = []
    for value in (image_of(plain), *plain.graph.output):
        dims = value.type.tensor_type.shape.dim
        if len(dims) and dims[0].dim_value == batch:
            dims[0].dim_value = 1
            names.append(value.name)
    body = bytes(plain.SerializeToString())
    return body if _returns_one(body, names) else _repeat(model, batch)


def _returns_one(body: bytes, names: list[str]) -> bool:
    try:
        source = inspection.inspect(body)
        size = (source.width or DETECTOR_SIDE, source.height or DETECTOR_SIDE)
        tried = trial.try_out(body, source, size)
    except OnnxRejected:
        return False
    return all(one.shape[0] == 1 for one in tried.outputs if one.name in names)


def _repeat(model: Any, batch: int) -> bytes:
    graph = model.graph
    image = image_of(model)
    assert image is not None  # noqa: S101 (it has a batch)
    del graph.value_info[:]
    image.type.tensor_type.shape.dim[0].dim_value = 1
    repeated = rename_uses(model, image.name)
    graph.node.insert(0, helper.make_node("Concat", [image.name] * batch, [repeated], axis=0))
    first = "lfv.first"
    graph.initializer.append(helper.make_tensor(first, TensorProto.INT64, [1], [0]))
    for output in graph.output:
        dims = output.type.tensor_type.shape.dim
        if not len(dims) or dims[0].dim_value != batch:
            continue
        dims[0].dim_value = 1
        every = free_output(model, output.name)
        graph.node.append(helper.make_node("Gather", [every, first], [output.name], axis=0))
    return bytes(model.SerializeToString())
