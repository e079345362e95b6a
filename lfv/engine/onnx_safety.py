"""Refuses ONNX models that refer to anything outside their own file, or are too large.

Every model is checked when it is loaded, even the engine's own, because an artifact may come from
anywhere.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import onnx
from onnx import TensorProto

from lfv.engine.errors import ArtifactError, OnnxRejected

#: Operator sets of the ONNX standard; the first two are the same.
DOMAINS = ("", "ai.onnx", "ai.onnx.ml")
#: Maximum number of nodes, with subgraphs (a large published backbone has about 2,000).
MAX_NODES = 20_000
#: Maximum number of levels of subgraphs (bodies of If, Loop and Scan).
MAX_DEPTH = 8
#: Maximum count of numbers in a declared output or expanded sparse tensor: 256 MiB of float32.
MAX_VALUES = 1 << 26


def check_stored(body: bytes) -> Any:
    """Parse an ONNX model of an artifact.

    Raises:
        ArtifactError: If it is refused; see :func:`parse_closed`.
    """
    try:
        return parse_closed(body)
    except OnnxRejected as error:
        raise ArtifactError(f"The model's ONNX file is refused: {error}") from error


def parse_closed(body: bytes) -> Any:
    """Parse a model that refers to nothing outside itself and has a bounded size.

    Raises:
        OnnxRejected: ``not_onnx``, ``external_data``, ``foreign_domain`` or ``too_complex``.
    """
    try:
        model = onnx.load_model_from_string(body)
    except Exception as error:
        raise OnnxRejected("not_onnx", "It is not an ONNX file, or is truncated.") from error
    if not model.graph.node or not model.graph.output:
        raise OnnxRejected("not_onnx", "It holds no graph, or is truncated.")
    if model.functions:
        raise OnnxRejected(
            "foreign_domain",
            f"It defines functions of its own, in the domain {model.functions[0].domain!r}; "
            "export it with its functions inlined.",
        )
    if len(model.training_info):
        raise OnnxRejected("invalid", "It holds graphs for training; export it for inference.")
    nodes = 0
    for graph, depth in _graphs(model.graph):
        nodes += len(graph.node)
        if nodes > MAX_NODES:
            raise OnnxRejected("too_complex", f"It has more than {MAX_NODES} nodes.")
        if depth > MAX_DEPTH:
            raise OnnxRejected("too_complex", f"It nests graphs more than {MAX_DEPTH} deep.")
        for node in graph.node:
            if node.domain not in DOMAINS:
                raise OnnxRejected(
                    "foreign_domain",
                    f"Its node {node.name or node.op_type!r} is of the operator domain "
                    f"{node.domain!r}; only ai.onnx and ai.onnx.ml are run.",
                )
        for tensor in _tensors(graph):
            _check_tensor(tensor, len(body))
        for sparse in _sparse(graph):
            if _elements(sparse.dims) > MAX_VALUES:
                raise OnnxRejected("too_complex", "It has a sparse tensor that is too large.")
    return model


def first_line(error: Exception) -> str:
    """Return the first line of an error of onnx or onnxruntime, at most 300 characters."""
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__


def _graphs(graph: Any) -> Iterator[tuple[Any, int]]:
    """Yield the graph and its subgraphs, with their depth.

    Not recursive, because the file determines the depth.
    """
    waiting = [(graph, 0)]
    while waiting:
        found, level = waiting.pop()
        yield found, level
        for node in found.node:
            for attribute in node.attribute:
                inner = [attribute.g] if attribute.HasField("g") else []
                waiting += [(one, level + 1) for one in (*inner, *attribute.graphs)]


def tensors_of(graph: Any) -> Iterator[Any]:
    """Yield all tensors of a graph and its subgraphs."""
    for found, _ in _graphs(graph):
        yield from _tensors(found)


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
        raise OnnxRejected(
            "external_data",
            f"Its tensor {tensor.name!r} lies in another file; save the model as one file "
            "(onnx.save without external data).",
        )
    if _elements(tensor.dims) > 2 * size:  # a number takes at least four bits
        raise OnnxRejected(
            "too_complex", f"Its tensor {tensor.name!r} claims more numbers than the file holds."
        )


def _elements(dims: Any) -> int:
    if any(dim < 0 for dim in dims):
        raise OnnxRejected("invalid", "It has a tensor with a negative dimension.")
    return math.prod(dims)
