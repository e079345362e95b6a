"""Reads what an exporter wrote into one ONNX file that takes one image.

Exporters put weights into a file beside the graph, fix the batch at the size they traced with, take
half precision (anomalib 2 does all three), and keep the transform of images apart (anomalib 0.x).
The result is checked like any other file.
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
#: Formats of other programs: how their files end, and their names.
_FOREIGN = {
    "openvino": ((".xml", ".bin"), "an OpenVINO model"),
    "torch": ((".pt", ".pth", ".ckpt"), "a PyTorch model"),
}


def read_export(path: Path, limit: int) -> bytes:
    """One ONNX file of at most ``limit`` bytes, with its weights in it and a batch of one.

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
    except Exception:  # noqa: BLE001 (the inspection says what is wrong with it)
        return body
    changed = _read_weights(model, file, limit - len(body))
    changed = _take_float32(model) or changed
    changed = add_transform(model, file.parent) or changed
    if (batch := _batch(model)) > 1:
        body = _take_one(model, batch)
    elif changed:
        body = bytes(model.SerializeToString())
    return show_whole_image(body)


def _refuse_foreign(path: Path) -> None:
    """Raises OnnxRejected for a file of another program, or a folder with such and no ONNX file."""
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
    """Whether there were weights beside the file; now they are in the model."""
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
    # Only a name: a path could lead anywhere on this machine, and so could a link.
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
        raise OnnxRejected("external_data", f"Its weights in {location[:80]!r} are cut short.")
    return data


def _batch(model: Any) -> int:
    """The number of images that the model insists on; 0 for any."""
    image = image_of(model)
    if image is None:
        return 0
    dims = image.type.tensor_type.shape.dim
    batch = int(dims[0].dim_value) if len(dims) == 4 else 0
    return batch if batch <= MAX_BATCH else 0


def _take_float32(model: Any) -> bool:
    """Whether the input was half precision; now the model converts it itself."""
    image = image_of(model)
    if image is None or image.type.tensor_type.elem_type != TensorProto.FLOAT16:
        return False
    image.type.tensor_type.elem_type = TensorProto.FLOAT
    half = rename_uses(model, image.name)
    model.graph.node.insert(
        0, helper.make_node("Cast", [image.name], [half], to=TensorProto.FLOAT16)
    )
    return True


def _take_one(model: Any, batch: int) -> bytes:
    """The model for one image: as it is, where nothing in it depends on the batch; else the image
    is repeated in it, and the first of its results is taken."""
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
