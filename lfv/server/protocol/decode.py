"""Decodes HTTP requests into inputs of operations, with the types of the input's shape."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson
from botocore.model import ListShape, OperationModel, Shape, StructureShape

from lfv.server.errors import ValidationError

_LATEST_TIMESTAMP = 253402300799  # the last second of the year 9999


@dataclass(frozen=True)
class RawRequest:
    uri_parameters: Mapping[str, str]
    query: Sequence[tuple[str, str]]
    #: Lower-case names.
    headers: Mapping[str, str]
    body: bytes


def decode_request(operation: OperationModel, request: RawRequest) -> dict[str, Any]:
    """Return the members that the request has. ``validate`` checks their constraints.

    Raises ValidationError for a value that does not have its member's type.
    """
    shape = operation.input_shape
    if shape is None:
        return {}
    members: dict[str, Any] = {}
    payload: str | None = shape.serialization.get("payload")
    in_body: dict[str, Shape] = {}
    for name, member in shape.members.items():
        location = member.serialization.get("location")
        wire_name = member.serialization.get("name", name)
        if name == payload:
            members[name] = request.body
        elif location is None:
            in_body[name] = member
        else:
            value = _decode_located(member, location, wire_name, request)
            if value is not None:
                members[name] = value
    if in_body and payload is None:
        members.update(_json_body(request.body, in_body))
    return members


def _decode_located(member: Shape, location: str, wire_name: str, request: RawRequest) -> Any:
    if location == "uri":
        return _from_text(member, request.uri_parameters[wire_name], wire_name)
    if location == "header":
        text = request.headers.get(wire_name.lower())
        return None if text is None else _from_text(member, text, wire_name)
    found = [value for key, value in request.query if key == wire_name]
    if isinstance(member, ListShape):
        return found or None
    if len(found) > 1:
        raise ValidationError(f"the parameter '{wire_name}' is given more than once")
    return _from_text(member, found[0], wire_name) if found else None


def _from_text(member: Shape, text: str, where: str) -> Any:
    kind = member.type_name
    if kind == "string":
        return text
    if kind == "boolean":
        if text not in ("true", "false"):
            raise ValidationError(f"the value at '{where}' is neither true nor false")
        return text == "true"
    if kind == "integer":
        return _integer(text, where)
    if kind == "timestamp":
        return _timestamp(text, where)
    raise AssertionError(f"no {kind} outside of a body in this API")


def _json_body(body: bytes, members: Mapping[str, Shape]) -> dict[str, Any]:
    if not body:
        return {}
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise ValidationError("the request body is not JSON") from None
    if not isinstance(document, dict):
        raise ValidationError("the request body is not a JSON object")
    return _structure(document, members, "")


def _structure(
    document: dict[str, Any], members: Mapping[str, Shape], where: str
) -> dict[str, Any]:
    """Ignore unknown members: a newer client may send more than this model has."""
    out: dict[str, Any] = {}
    for name, member in members.items():
        value = document.get(member.serialization.get("name", name))
        if value is not None:
            out[name] = _from_json(member, value, f"{where}.{name}" if where else name)
    return out


def _from_json(member: Shape, value: Any, where: str) -> Any:
    kind = member.type_name
    if isinstance(member, StructureShape):
        if not isinstance(value, dict):
            raise _wrong_type(where, "an object")
        return _structure(value, member.members, where)
    if isinstance(member, ListShape):
        if not isinstance(value, list):
            raise _wrong_type(where, "a list")
        return [_from_json(member.member, v, f"{where}.{i}") for i, v in enumerate(value, 1)]
    if kind == "string":
        if not isinstance(value, str):
            raise _wrong_type(where, "a string")
        return value
    if kind == "boolean":
        if not isinstance(value, bool):
            raise _wrong_type(where, "true or false")
        return value
    if kind == "integer":
        if isinstance(value, bool) or not isinstance(value, int):
            raise _wrong_type(where, "a whole number")
        return _check_bounds(value, where)
    if kind == "blob":
        return _blob(value, where)
    raise AssertionError(f"no {kind} in a request body of this API")


def _blob(value: Any, where: str) -> bytes:
    if not isinstance(value, str):
        raise _wrong_type(where, "a base64 string")
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise _wrong_type(where, "a base64 string") from None


def _integer(text: str, where: str) -> int:
    # int() alone would also accept underscores, spaces and other scripts' digits.
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 10):
        raise _wrong_type(where, "a whole number")
    return _check_bounds(int(text), where)


def _check_bounds(value: int, where: str) -> int:
    if not -(2**31) <= value < 2**31:
        raise _wrong_type(where, "a 32-bit number")
    return value


def _timestamp(text: str, where: str) -> datetime:
    """Parse ISO 8601, as the SDKs send it in a query, or Unix seconds. No zone means UTC."""
    try:
        seconds = float(text)
    except ValueError:
        pass
    else:
        if math.isfinite(seconds) and 0 <= seconds <= _LATEST_TIMESTAMP:
            return datetime.fromtimestamp(seconds, UTC)
        raise _wrong_type(where, "a time")
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise _wrong_type(where, "a time") from None


def _wrong_type(where: str, wanted: str) -> ValidationError:
    return ValidationError(f"the value at '{where}' is not {wanted}")
