"""Exports as anomalib 2 writes them: weights beside the graph, a batch of two, half precision."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper

from lfv.engine.custom_models.acceptance import accept_detector
from lfv.engine.custom_models.detector import Reading, open_reader
from lfv.engine.custom_models.exported_onnx import read_export
from lfv.engine.errors import OnnxRejected
from lfv.onnx_files import onnx_digest
from tests.support import onnx_models

LIMIT = 8 * 2**20
SIDE = 64
FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16


def image(seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)


def read(path: Path) -> Reading:
    accepted = accept_detector(read_export(path, LIMIT))
    assert accepted.view.size == (SIDE, SIDE)
    return open_reader(accepted.view, accepted.body)(image())


def detector(batch: int | str, *, kind: int = FLOAT, fixed: bool = False) -> ModelProto:
    """Anything darker than the part is an anomaly; ``fixed`` puts the batch into the graph."""
    nodes = [
        helper.make_node("Cast", ["image"], ["full"], to=FLOAT),
        helper.make_node("ReduceMean", ["full"], ["grey"], axes=[1], keepdims=1),
        helper.make_node("Sub", ["one", "grey"], ["dark"]),
        helper.make_node("Reshape", ["dark", "shape"], ["anomaly_map"]),
        helper.make_node("ReduceMax", ["anomaly_map"], ["pred_score"], axes=[1, 2, 3], keepdims=0),
    ]
    shape = [batch if fixed else -1, 1, SIDE, SIDE]
    return onnx_models.model(
        nodes,
        {"pred_score": (FLOAT, [batch]), "anomaly_map": (FLOAT, [batch, 1, SIDE, SIDE])},
        {"one": np.array(1.0, np.float32), "shape": np.array(shape, np.int64)},
        shape=[batch, 3, SIDE, SIDE],
        kind=kind,
    )


@pytest.fixture
def expected(tmp_path: Path) -> Reading:
    path = tmp_path / "expected.onnx"
    onnx.save(detector(1), path)
    return read(path)


def same(one: Reading, other: Reading, tolerance: float = 1e-6) -> bool:
    assert one.map is not None
    assert other.map is not None
    return bool(np.allclose(one.map, other.map, atol=tolerance)) and (
        abs(one.score - other.score) <= tolerance
    )


def save_apart(model: ModelProto, folder: Path) -> Path:
    folder.mkdir()
    file = folder / "model.onnx"
    onnx.save(
        model,
        file,
        save_as_external_data=True,
        location="model.onnx.data",
        size_threshold=0,
    )
    assert (folder / "model.onnx.data").stat().st_size
    return file


@pytest.mark.parametrize("given", ["folder", "file"])
def test_weights_beside_the_graph(tmp_path: Path, expected: Reading, given: str) -> None:
    file = save_apart(detector(1), tmp_path / "export")
    assert same(read(file if given == "file" else file.parent), expected)


@pytest.mark.parametrize("fixed", [False, True], ids=["in the input", "in the graph"])
def test_a_batch_of_two(tmp_path: Path, expected: Reading, fixed: bool) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(detector(2, fixed=fixed), path)
    assert same(read(path), expected)


def test_half_precision(tmp_path: Path, expected: Reading) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(detector(1, kind=HALF), path)
    assert same(read(path), expected, tolerance=2e-3)


def test_all_of_these_together(tmp_path: Path, expected: Reading) -> None:
    file = save_apart(detector(2, kind=HALF, fixed=True), tmp_path / "export")
    assert same(read(file.parent), expected, tolerance=2e-3)


def test_the_inputs_and_outputs_of_anomalib(tmp_path: Path, expected: Reading) -> None:
    """Four outputs, two of them boolean, any batch and any sides, below weights/onnx."""
    model = detector("batch_size")
    nodes = [
        *model.graph.node,
        helper.make_node("Greater", ["pred_score", "half"], ["pred_label"]),
        helper.make_node("Greater", ["anomaly_map", "half"], ["pred_mask"]),
    ]
    image_shape = ["batch_size", 3, SIDE, SIDE]
    mask_shape = ["batch_size", 1, SIDE, SIDE]
    whole = onnx_models.model(
        nodes,
        {
            "pred_score": (FLOAT, ["batch_size"]),
            "pred_label": (TensorProto.BOOL, ["batch_size"]),
            "anomaly_map": (FLOAT, mask_shape),
            "pred_mask": (TensorProto.BOOL, mask_shape),
        },
        {
            "one": np.array(1.0, np.float32),
            "half": np.array(0.5, np.float32),
            "shape": np.array([-1, 1, SIDE, SIDE], np.int64),
        },
        shape=image_shape,
    )
    (tmp_path / "weights").mkdir()
    save_apart(whole, tmp_path / "weights" / "onnx")
    assert same(read(tmp_path / "weights"), expected)


def test_an_ordinary_file_is_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(detector("batch"), path)
    assert read_export(path, LIMIT) == path.read_bytes()


def openvino(folder: Path) -> Path:
    (folder / "model.xml").write_text("<net/>")
    (folder / "model.bin").write_bytes(b"\0")
    return folder


def checkpoint(folder: Path) -> Path:
    (folder / "model.pt").write_bytes(b"PK\3\4")
    return folder


def lead_out(folder: Path) -> Path:
    file = save_apart(detector(1), folder / "export")
    model = onnx.load(file, load_external_data=False)
    for tensor in model.graph.initializer:
        next(e for e in tensor.external_data if e.key == "location").value = "../secret"
    (folder / "secret").write_bytes(bytes(4096))
    file.write_bytes(model.SerializeToString())
    return file


def link(folder: Path) -> Path:
    file = save_apart(detector(1), folder / "export")
    weights = file.with_name("model.onnx.data").rename(folder / "elsewhere")
    file.with_name("model.onnx.data").symlink_to(weights)
    return file


def lose_weights(folder: Path) -> Path:
    file = save_apart(detector(1), folder / "export")
    file.with_name("model.onnx.data").unlink()
    return file


def cut_weights(folder: Path) -> Path:
    file = save_apart(detector(1), folder / "export")
    file.with_name("model.onnx.data").write_bytes(b"\0")
    return file


def two_files(folder: Path) -> Path:
    for name in ("a.onnx", "b.onnx"):
        onnx.save(detector(1), folder / name)
    return folder


@pytest.mark.parametrize(
    ("make", "reason", "message"),
    [
        (openvino, "openvino", "export the model as ONNX instead"),
        (lambda folder: openvino(folder) / "model.xml", "openvino", "anomalib export"),
        (checkpoint, "torch", "a PyTorch model; export the model as ONNX instead"),
        (lambda folder: checkpoint(folder) / "model.pt", "torch", "anomalib export"),
        (lead_out, "external_data", "not beside it"),
        (link, "external_data", "not beside it"),
        (lose_weights, "external_data", "'model.onnx.data', which is not beside it"),
        (cut_weights, "external_data", "truncated"),
        (two_files, "unreadable", "several ONNX files"),
        (lambda folder: folder, "unreadable", "no ONNX file in"),
    ],
)
def test_what_is_refused(
    tmp_path: Path, make: Callable[[Path], Path], reason: str, message: str
) -> None:
    with pytest.raises(OnnxRejected, match=message) as caught:
        read_export(make(tmp_path), LIMIT)
    assert caught.value.reason == reason


def test_weights_count_for_the_limit(tmp_path: Path) -> None:
    file = save_apart(detector(1), tmp_path / "export")
    with pytest.raises(OnnxRejected, match="With its weights it is larger"):
        read_export(file, file.stat().st_size + 1)


def test_the_digest_covers_the_weights(tmp_path: Path) -> None:
    file = save_apart(detector(1), tmp_path / "export")
    before = onnx_digest(file.parent)
    assert before == onnx_digest(file)
    weights = file.with_name("model.onnx.data")
    weights.write_bytes(bytes(weights.stat().st_size))
    assert onnx_digest(file) != before
