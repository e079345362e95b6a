"""Parses one JSON object per line without guessing, rounding or dropping anything.

Refused are bytes that are not UTF-8, NaN and infinities, duplicate names, nesting deeper than 32
levels, and U+0000, which SQL databases cannot store. Integers beyond 64 bits, such as long serial
numbers, are returned as strings of their digits, because other JSON readers would round them.

orjson is about five times as fast as `json`, but keeps only the last of duplicate names and rounds
large integers. So orjson parses every line, and `json` parses the few lines again in which this
could matter.
"""

from __future__ import annotations

import json
import re
from typing import Any

import orjson

from lfv.formats.manifest.records import LineError, around, not_utf8

MAX_DEPTH = 32
_LONG_NUMBER = re.compile(rb"\d{19}")
_SPACED_COLON = re.compile(rb'"[ \t\r\n]+:')
_CONTAINERS = (dict, list)
_MAX_INT64 = 2**63 - 1


def parse_object(line: bytes) -> dict[str, Any]:
    """Parse a line. Raises LineError."""
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise _explain(line, error) from None
    if not isinstance(value, dict):
        raise LineError("json_not_an_object", "The line is JSON, but not an object.")
    names = _count_names(value, 1)
    # A colon follows the closing quote of each member's name, and strings may contain further ones.
    # So if the counts agree, no member was lost.
    if (
        names != line.count(b'":')
        or _SPACED_COLON.search(line)
        or _LONG_NUMBER.search(line)
        or b"\\u0000" in line
    ):
        return _parse_exactly(line)
    return value


def _count_names(value: Any, depth: int) -> int:
    """Count the members of all objects in `value`."""
    if depth > MAX_DEPTH:
        raise LineError("json_too_deep", f"The JSON is nested deeper than {MAX_DEPTH} levels.")
    inner, count = (value.values(), len(value)) if type(value) is dict else (value, 0)
    for child in inner:
        if type(child) in _CONTAINERS:
            count += _count_names(child, depth + 1)
    return count


def _parse_exactly(line: bytes) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(
        line, object_pairs_hook=_unique_members, parse_int=_exact_int
    )
    _refuse_nul(value)
    return value


def _unique_members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise LineError("json_duplicate_name", f"The name {name[:80]!r} appears twice.")
            seen.add(name)
    return members


def _exact_int(digits: str) -> int | str:
    if len(digits) > 20:
        return digits
    number = int(digits)
    return number if -_MAX_INT64 - 1 <= number <= _MAX_INT64 else digits


def _refuse_nul(value: Any) -> None:
    if isinstance(value, str):
        if "\x00" in value:
            raise LineError("nul_character", "The line contains the character U+0000.")
    elif isinstance(value, dict):
        for name, child in value.items():
            _refuse_nul(name)
            _refuse_nul(child)
    elif isinstance(value, list):
        for child in value:
            _refuse_nul(child)


def _explain(line: bytes, error: orjson.JSONDecodeError) -> LineError:
    try:
        line.decode()
    except UnicodeDecodeError as wrong:
        return not_utf8(line, wrong)
    if b"\x00" in line:
        return LineError("nul_character", "The line contains a NUL byte.")
    if "depth limit" in error.msg:
        return LineError("json_too_deep", f"The JSON is nested deeper than {MAX_DEPTH} levels.")
    if re.search(rb"[:\[,]\s*-?(NaN|Infinity)\b", line):
        return LineError("json_not_a_number", "NaN and Infinity are not JSON numbers.")
    return LineError(
        "json_invalid",
        f"The line is not valid JSON at character {error.pos + 1}"
        f"{around(line, len(error.doc[: error.pos].encode()))}.",
    )
