"""Encodes results and errors of operations as the status, headers and body of an answer."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from botocore.model import ListShape, OperationModel, ServiceModel, Shape, StructureShape

from lfv.server.errors import ApiError


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


def encode_result(operation: OperationModel, result: Mapping[str, Any]) -> Answer:
    """Encode the result without members that are None. Raises AssertionError for unknown ones."""
    status = operation.http.get("responseCode", 200)
    document = {} if operation.output_shape is None else _encode(operation.output_shape, result)
    return Answer(status, {"content-type": "application/json"}, orjson.dumps(document))


def encode_error(model: ServiceModel, error: ApiError) -> Answer:
    """Put the error's code into a header and its members into the body, as REST-JSON does."""
    headers = {"content-type": "application/json", "x-amzn-errortype": error.code}
    body: dict[str, Any] = {}
    located: Mapping[str, Shape] = {}
    if error.code in model.shape_names:
        located = model.shape_for(error.code).members
    for name, value in error.members.items():
        member = located.get(name)
        if member is not None and member.serialization.get("location") == "header":
            headers[member.serialization["name"].lower()] = str(value)
        else:
            body[name] = value
    return Answer(error.status, headers, orjson.dumps(body))


def _encode(shape: Shape, value: Any) -> Any:
    if isinstance(shape, StructureShape):
        unknown = set(value) - set(shape.members)
        if unknown:
            raise AssertionError(f"{shape.name} has no members {sorted(unknown)}")
        return {
            shape.members[name].serialization.get("name", name): _encode(shape.members[name], item)
            for name, item in value.items()
            if item is not None
        }
    if isinstance(shape, ListShape):
        return [_encode(shape.member, item) for item in value]
    if shape.type_name == "blob":
        return base64.b64encode(value).decode("ascii")
    if shape.type_name == "timestamp":  # Unix seconds here and on the wire
        return round(value, 3)
    return value
