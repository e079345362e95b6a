"""Checks inputs against the service model: required, length, range, pattern, enum."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from botocore.model import ListShape, OperationModel, Shape, StringShape, StructureShape

from lfv.server.errors import ValidationError

_SEPARATORS = r" \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"


def validate(operation: OperationModel, members: dict[str, Any]) -> None:
    """Raise a ValidationError that lists every violated constraint, worded like Amazon's."""
    shape = operation.input_shape
    if shape is None:
        return
    problems: list[str] = []
    _structure(shape, members, "", problems)
    if problems:
        errors = "error" if len(problems) == 1 else "errors"
        raise ValidationError(
            f"{len(problems)} validation {errors} detected: {'; '.join(problems)}"
        )


def _structure(shape: Any, members: dict[str, Any], where: str, problems: list[str]) -> None:
    problems.extend(
        _problem(_member_path(where, name), "must not be null")
        for name in shape.required_members
        if members.get(name) is None
    )
    for name, member in shape.members.items():
        if (value := members.get(name)) is not None:
            _value(member, value, _member_path(where, name), problems)


def _value(shape: Shape, value: Any, where: str, problems: list[str]) -> None:
    if isinstance(shape, StructureShape):
        _structure(shape, value, where, problems)
        return
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    if isinstance(value, (str, bytes, list)):
        if low is not None and len(value) < low:
            problems.append(_problem(where, f"must have length greater than or equal to {low}"))
        if high is not None and len(value) > high:
            problems.append(_problem(where, f"must have length less than or equal to {high}"))
            return  # patterns and members of a value that is too long are not checked
    elif isinstance(value, int) and not isinstance(value, bool):
        if low is not None and value < low:
            problems.append(_problem(where, f"must have value greater than or equal to {low}"))
        if high is not None and value > high:
            problems.append(_problem(where, f"must have value less than or equal to {high}"))
    if isinstance(shape, ListShape):
        for index, item in enumerate(value, 1):
            _value(shape.member, item, f"{where}.{index}.member", problems)
    elif isinstance(value, str):
        _text(shape, value, where, problems)


def _text(shape: Shape, value: str, where: str, problems: list[str]) -> None:
    pattern = shape.metadata.get("pattern")
    if pattern is not None and not _compile(pattern).fullmatch(value):
        problems.append(_problem(where, f"must satisfy regular expression pattern: {pattern}"))
    if isinstance(shape, StringShape) and shape.enum and value not in shape.enum:
        wanted = ", ".join(shape.enum)
        problems.append(_problem(where, f"must satisfy enum value set: [{wanted}]"))


@cache
def _compile(pattern: str) -> re.Pattern[str]:
    r"""Compile a pattern. Python has no ``\p``; ``\w`` fits, as the model's classes have ``_``."""
    for theirs, ours in ((r"\p{L}", r"\w"), (r"\p{N}", r"\w"), (r"\p{Z}", _SEPARATORS)):
        pattern = pattern.replace(theirs, ours)
    return re.compile(pattern)


def _member_path(where: str, name: str) -> str:
    name = name[:1].lower() + name[1:]
    return f"{where}.{name}" if where else name


def _problem(where: str, constraint: str) -> str:
    return f"Value at '{where}' failed to satisfy constraint: Member {constraint}"
