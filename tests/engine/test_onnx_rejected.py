"""Defective and malicious ONNX files are refused with the reason, before or while they run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper

from lfv.engine import OnnxRejected
from lfv.engine.custom_models import trial
from lfv.engine.custom_models.acceptance import accept_backbone, accept_detector, read_onnx
from lfv.engine.custom_models.inspection import inspect
from lfv.engine.onnx_safety import MAX_DEPTH, MAX_NODES, parse_closed
from tests.support import onnx_models
from tests.support.onnx_models import FLOAT, IMAGE


def sound(**changes: object) -> ModelProto:
    return onnx_models.matcher([onnx_models.tile(0)], **changes)  # type: ignore[arg-type]


def relu(shape: tuple[object, ...] = IMAGE, **more: object) -> ModelProto:
    node = helper.make_node("Relu", ["image"], ["maps"])
    return onnx_models.model([node], {"maps": (FLOAT, IMAGE)}, shape=shape, **more)  # type: ignore[arg-type]


def external() -> ModelProto:
    made = sound()
    tensor = made.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "/etc/hostname"
    return made


def external_in_a_branch() -> ModelProto:
    made = onnx_models.nested(2)
    inner = made.graph.node[0].attribute[0].g.node[0].attribute[1].g
    inner.initializer.add(name="w", dims=[4], data_type=FLOAT, data_location=TensorProto.EXTERNAL)
    return made


def foreign() -> ModelProto:
    made = sound()
    made.graph.node[0].domain = "com.microsoft"
    made.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return made


def functions() -> ModelProto:
    made = sound()
    made.functions.append(
        helper.make_function(
            "pkg.mine", "Twice", ["x"], ["y"], [], [helper.make_opsetid("", 17)], []
        )
    )
    return made


def lying() -> ModelProto:
    made = sound()
    made.graph.initializer[0].dims[0] = 1 << 40
    return made


def sparse() -> ModelProto:
    made = sound()
    values = helper.make_tensor("much", FLOAT, [1], [1.0])
    indices = helper.make_tensor("at", TensorProto.INT64, [1], [0])
    made.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [1 << 40]))
    return made


def two_inputs() -> ModelProto:
    made = sound()
    made.graph.input.append(helper.make_tensor_value_info("other", FLOAT, IMAGE))
    return made


def huge_output() -> ModelProto:
    made = sound()
    shape = ["n", 1, 1 << 20, 1 << 20]
    made.graph.output[0].CopyFrom(helper.make_tensor_value_info("maps", FLOAT, shape))
    return made


def many_nodes() -> ModelProto:
    made = relu()
    made.graph.node.extend([made.graph.node[0]] * MAX_NODES)
    return made


def unknown_operator() -> ModelProto:
    made = relu()
    made.graph.node[0].op_type = "Rulu"
    return made


STATIC: dict[str, tuple[Callable[[], ModelProto], str, str]] = {
    "external data": (external, "external_data", "'kernels' lies in another file"),
    "external in a branch": (external_in_a_branch, "external_data", "another file"),
    "foreign domain": (foreign, "foreign_domain", "'com.microsoft'; only ai.onnx"),
    "own functions": (functions, "foreign_domain", "'pkg.mine'"),
    "lying tensor": (lying, "too_complex", "more numbers than the file holds"),
    "sparse bomb": (sparse, "too_complex", "sparse tensor"),
    "nesting": (lambda: onnx_models.nested(MAX_DEPTH + 1), "too_complex", "deep"),
    "many nodes": (many_nodes, "too_complex", "nodes"),
    "unknown operator": (unknown_operator, "invalid", "Rulu"),
    "batch of two": (lambda: relu((2, 3, 64, 64)), "batch", "exactly 2 images"),
    "two inputs": (two_inputs, "input", "image, other"),
    "whole numbers": (lambda: relu(kind=TensorProto.INT64), "input", "type INT64"),
    "flat input": (lambda: relu((1, 3, 64)), "input", "3 dimensions"),
    "five channels": (lambda: relu((1, 5, 64, 64)), "input", "neither"),
    "tiny": (lambda: relu((1, 3, 8, 8)), "input", "8x8"),
    "vast": (lambda: relu((1, 3, 64, 100_000)), "input", "100000x64"),
    "huge output": (huge_output, "outputs", "too large"),
    "metadata": (lambda: relu(metadata={"lfv.mean": "1,x"}), "invalid", "three numbers"),
}


@pytest.mark.parametrize("kind", STATIC)
def test_graphs_refused_without_running_them(kind: str) -> None:
    make, reason, message = STATIC[kind]
    with pytest.raises(OnnxRejected, match=message) as refused:
        inspect(make().SerializeToString())
    assert refused.value.reason == reason


def test_a_file_cut_short_anywhere_is_refused() -> None:
    whole = onnx_models.darkness_detector().SerializeToString()
    for length in range(0, len(whole) - 1, 7):
        with pytest.raises(OnnxRejected):
            inspect(whole[:length])


def test_damage_anywhere_is_refused_or_harmless() -> None:
    random = np.random.default_rng(0)
    whole = sound().SerializeToString()
    refused = 0
    for _ in range(300):
        body = bytearray(whole)
        for position in random.integers(0, len(body), 3):
            body[position] = random.integers(0, 256)
        try:
            parse_closed(bytes(body))
        except OnnxRejected:
            refused += 1
    assert refused


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "graph.onnx"
    path.write_bytes(bytes(3 * 1024 * 1024))
    for wanted, limit, reason in (
        (path, 2 * 1024 * 1024, "too_large"),
        (tmp_path, 100, "unreadable"),
        (tmp_path / "none.onnx", 100, "unreadable"),
    ):
        with pytest.raises(OnnxRejected) as refused:
            read_onnx(wanted, limit)
        assert refused.value.reason == reason
    assert len(read_onnx(path, 3 * 1024 * 1024)) == 3 * 1024 * 1024


def tried(made: ModelProto, **limits: float) -> trial.Trial:
    body = made.SerializeToString()
    return trial.try_out(body, inspect(body), (64, 64), **limits)  # type: ignore[arg-type]


def test_an_endless_graph_is_stopped() -> None:
    with pytest.raises(OnnxRejected, match="more than 1 s") as refused:
        tried(onnx_models.endless(), seconds=1)
    assert refused.value.reason == "too_slow"


def test_a_graph_whose_memory_grows_is_stopped() -> None:
    with pytest.raises(OnnxRejected, match="1024 MiB") as refused:
        tried(onnx_models.swelling(), memory=1 << 30)
    assert refused.value.reason == "out_of_memory"


def test_invalid_outputs_are_refused() -> None:
    no_number = onnx_models.model(
        [
            helper.make_node("Log", ["negative"], ["log"]),
            helper.make_node("Neg", ["abs"], ["negative"]),
            helper.make_node("Abs", ["image"], ["abs"]),
        ][::-1],
        {"log": (FLOAT, IMAGE)},
    )
    chance = onnx_models.model(
        [helper.make_node("RandomNormalLike", ["image"], ["maps"])], {"maps": (FLOAT, IMAGE)}
    )
    wrong = onnx_models.model(
        [helper.make_node("MatMul", ["image", "w"], ["maps"])],
        {"maps": (FLOAT, ["n", "c", "h", "w"])},
        {"w": np.ones((5, 5), np.float32)},
    )
    for made, reason in ((no_number, "not_finite"), (chance, "not_repeatable"), (wrong, "broke")):
        with pytest.raises(OnnxRejected) as refused:
            tried(made)
        assert refused.value.reason == reason


def test_outputs_of_no_usable_shape_are_refused() -> None:
    pooled = onnx_models.model(
        [
            helper.make_node("GlobalAveragePool", ["image"], ["mean"]),
            helper.make_node("Flatten", ["mean"], ["flat"]),
        ],
        {"flat": (FLOAT, ["n", 3])},
    ).SerializeToString()
    with pytest.raises(OnnxRejected, match=r"it returns flat \(float32 \[1, 3\]\)") as refused:
        accept_backbone(pooled)
    assert refused.value.reason == "outputs"
    with pytest.raises(OnnxRejected, match="pred_score") as refused:
        accept_detector(pooled)
    assert refused.value.reason == "outputs"


def test_images_have_the_form_that_the_graph_accepts() -> None:
    """Channels last, 8-bit samples and luminance give the same answer."""
    node = helper.make_node("Cast", ["image"], ["planes"], to=FLOAT)
    turned = helper.make_node("Transpose", ["planes"], ["maps"], perm=[0, 3, 1, 2])
    made = onnx_models.model(
        [node, turned],
        {"maps": (FLOAT, [1, 1, 48, 64])},
        shape=(1, 48, 64, 1),
        kind=TensorProto.UINT8,
    )
    accepted = accept_backbone(made.SerializeToString(), (640, 480))
    assert accepted.view.size == (64, 48)
    assert (accepted.view.rows, accepted.view.columns) == (48, 64)
    from lfv.engine.custom_models.runner import CustomExtractor

    white = np.full((48, 64, 3), 255, np.uint8)
    (maps,) = CustomExtractor(accepted.view, accepted.body)(white)
    assert (maps == 255).all()
    plain = relu(metadata={"lfv.mean": "0.5,0.5,0.5", "lfv.std": "0.25,0.25,0.25"})
    accepted = accept_backbone(plain.SerializeToString(), (640, 480))
    assert accepted.view.size == (384, 288)
    large = np.full((288, 384, 3), 255, np.uint8)
    (maps,) = CustomExtractor(accepted.view, accepted.body)(large)
    assert np.allclose(maps, 2.0)
