"""Small ONNX models of users, valid and invalid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

FLOAT = TensorProto.FLOAT
IMAGE: tuple[Any, ...] = ("batch", 3, "height", "width")
Weights = dict[str, NDArray[Any]]


def model(
    nodes: Sequence[NodeProto],
    outputs: dict[str, tuple[int, Sequence[Any]]],
    weights: Weights | None = None,
    *,
    shape: Sequence[Any] = IMAGE,
    kind: int = FLOAT,
    metadata: dict[str, str] | None = None,
) -> ModelProto:
    """A model with one input, ``image``, and outputs of these types and shapes."""
    graph = helper.make_graph(
        list(nodes),
        "custom",
        [helper.make_tensor_value_info("image", kind, shape)],
        [helper.make_tensor_value_info(name, *told) for name, told in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in (weights or {}).items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    made.ir_version = 8
    helper.set_model_props(made, metadata or {})
    return made


def tile(seed: int, side: int = 16) -> NDArray[np.float32]:
    """A random pattern of +-1 that statistics of gradients cannot tell from noise."""
    signs = np.random.default_rng(seed).integers(0, 2, (side, side)) * 2 - 1
    return signs.astype(np.float32)


def matcher(
    patterns: Sequence[NDArray[np.float32]], *, shape: Sequence[Any] = IMAGE, stride: int = 0
) -> ModelProto:
    """A backbone: how much of each pattern is in each square, [1, patterns, rows, columns]."""
    side = patterns[0].shape[0]
    calm = [p - p.mean() for p in patterns]  # so that brightness does not show
    kernels = np.stack([np.stack([p] * 3) / (3 * p.size) for p in calm]).astype(np.float32)
    step = stride or side
    nodes = [
        helper.make_node("Conv", ["image", "kernels"], ["found"], strides=[step, step]),
        helper.make_node("Abs", ["found"], ["maps"]),
    ]
    return model(
        nodes,
        {"maps": (FLOAT, ["batch", len(patterns), "rows", "columns"])},
        {"kernels": kernels},
        shape=shape,
    )


def darkness_detector(
    *, names: tuple[str, str] = ("pred_score", "anomaly_map"), score: bool = True, maps: bool = True
) -> ModelProto:
    """A detector in the form of anomalib's exports: anything darker than the part is an anomaly."""
    score_name, map_name = names
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["grey"], axes=[1], keepdims=1),
        helper.make_node(
            "AveragePool", ["grey"], ["smooth"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]
        ),
        helper.make_node("Sub", ["one", "smooth"], [map_name]),
        helper.make_node("ReduceMax", [map_name], ["highest"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Identity", ["highest"], [score_name]),
        helper.make_node("Greater", [score_name, "half"], ["pred_label"]),
        helper.make_node("Greater", [map_name, "half"], ["pred_mask"]),
    ]
    outputs: dict[str, tuple[int, Sequence[Any]]] = {
        "pred_label": (TensorProto.BOOL, ["batch"]),
        "pred_mask": (TensorProto.BOOL, ["batch", 1, "height", "width"]),
    }
    if score:
        outputs[score_name] = (FLOAT, ["batch"])
    if maps:
        outputs[map_name] = (FLOAT, ["batch", 1, "height", "width"])
    return model(
        nodes,
        outputs,
        {"one": np.array(1.0, np.float32), "half": np.array(0.5, np.float32)},
    )


def endless() -> ModelProto:
    """A loop of 10 ** 15 rounds."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["go_on"]),
            helper.make_node("Relu", ["value"], ["next"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("round", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("value", FLOAT, IMAGE),
        ],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", FLOAT, IMAGE),
        ],
    )
    return model(
        [helper.make_node("Loop", ["rounds", "true", "image"], ["maps"], body=body)],
        {"maps": (FLOAT, IMAGE)},
        {"rounds": np.array(10**15, np.int64), "true": np.array(True)},
    )


def nested(depth: int) -> ModelProto:
    """Branches within branches."""
    told = [helper.make_tensor_value_info("out", FLOAT, IMAGE)]
    inner: GraphProto = helper.make_graph(
        [helper.make_node("Relu", ["image"], ["out"])], "innermost", [], told
    )
    for level in range(depth):
        both = {"then_branch": inner, "else_branch": inner}
        node = helper.make_node("If", ["true"], ["out"], **both)
        inner = helper.make_graph([node], f"level{level}", [], told)
    return model(list(inner.node), {"out": (FLOAT, IMAGE)}, {"true": np.array(True)})


def swelling() -> ModelProto:
    """A few nodes that need 150 GiB."""
    return model(
        [
            helper.make_node("ReduceMean", ["image"], ["mean"], keepdims=1),
            helper.make_node("Expand", ["mean", "size"], ["maps"]),
        ],
        {"maps": (FLOAT, ["batch", "channels", "rows", "columns"])},
        {"size": np.array([1, 4, 100_000, 100_000], np.int64)},
    )
