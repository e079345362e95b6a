"""Checks raw answers of the service against a service model, more strictly than botocore."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

from botocore.model import ListShape, OperationModel, ServiceModel, Shape, StructureShape


def check_answer(
    model: ServiceModel, operation: OperationModel, status: int, headers: Any, body: bytes
) -> None:
    """Raise AssertionError where an answer, or an error, isn't what the model says."""
    assert headers["x-amzn-requestid"]
    assert headers["content-type"] == "application/json"
    document = json.loads(body)
    if status < 300:
        assert status == operation.http.get("responseCode", 200)
        assert operation.output_shape is not None
        _check(operation.output_shape, document, operation.name)
        return
    code = headers["x-amzn-errortype"]
    assert code in {shape.name for shape in operation.error_shapes}, (operation.name, code)
    shape = model.shape_for(code)
    assert status == shape.metadata["error"]["httpStatusCode"]
    located = {
        name: member
        for name, member in shape.members.items()
        if member.serialization.get("location") == "header"
    }
    for member in located.values():
        if code in ("ThrottlingException", "InternalServerException"):
            assert int(headers[member.serialization["name"]]) >= 0
    assert not set(located) & set(document)
    _check(shape, document, code)


def _check(shape: Shape, value: Any, where: str) -> None:
    kind = shape.type_name
    if isinstance(shape, StructureShape):
        assert isinstance(value, dict), where
        assert set(value) <= set(shape.members), (where, set(value) - set(shape.members))
        assert set(shape.required_members) <= set(value), where
        for name, item in value.items():
            _check(shape.members[name], item, f"{where}.{name}")
        return
    if isinstance(shape, ListShape):
        assert isinstance(value, list), where
        for item in value:
            _check(shape.member, item, f"{where}[]")
        return
    if kind == "blob":
        value = base64.b64decode(value, validate=True)
    elif kind in ("timestamp", "float"):
        assert isinstance(value, (int, float)), where
        assert not isinstance(value, bool), where
    elif kind == "integer":
        assert isinstance(value, int), where
        assert not isinstance(value, bool), where
    elif kind == "boolean":
        assert isinstance(value, bool), where
    else:
        assert isinstance(value, str), where
        assert not shape.enum or value in shape.enum, (where, value)
        if pattern := shape.metadata.get("pattern"):
            pattern = re.sub(r"\\p\{[LN]\}", r"\\w", pattern).replace(r"\p{Z}", r"\s")
            assert re.fullmatch(pattern, value), (where, value)
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    size = len(value) if isinstance(value, (str, bytes)) else value
    assert low is None or size >= low, (where, value)
    assert high is None or size <= high, (where, value)
