"""Small changes to an ONNX graph."""

from __future__ import annotations

from typing import Any


def image_of(model: Any) -> Any | None:
    """Return the only input that is not a weight; None if there are none or several."""
    inputs = inputs_of(model)
    return inputs[0] if len(inputs) == 1 else None


def inputs_of(model: Any) -> list[Any]:
    """Return the inputs that are not weights."""
    weights = {tensor.name for tensor in model.graph.initializer}
    return [one for one in model.graph.input if one.name not in weights]


def rename_uses(model: Any, name: str) -> str:
    """Let the nodes that read ``name`` read a new name, and return it."""
    other = _unused_name(model, name)
    for node in model.graph.node:
        node.input[:] = [other if one == name else one for one in node.input]
    return other


def free_output(model: Any, name: str) -> str:
    """Rename the tensor behind the output ``name``, so that a new node can produce the output."""
    other = rename_uses(model, name)
    for node in model.graph.node:
        node.output[:] = [other if one == name else one for one in node.output]
    return other


def _unused_name(model: Any, name: str) -> str:
    taken = {one for node in model.graph.node for one in (*node.input, *node.output)}
    other = f"lfv.{name}"
    while other in taken:
        other = f"lfv.{other}"
    return other
