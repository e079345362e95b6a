"""Strict parsing of one object per line; the fast path agrees with the exact one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lfv.formats.manifest.records import LineError
from lfv.formats.manifest.strict_json import _parse_exactly, parse_object

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=8)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT
    | st.sampled_from(['":', '\\":', '"a":1', "\\u0000", "\\"]),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(TEXT, children, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(TEXT, VALUES, max_size=4)


@settings(max_examples=200, deadline=None)
@given(OBJECTS, st.booleans(), st.sampled_from([(",", ":"), (", ", ": "), (" , ", " : ")]))
def test_reads_what_json_writes(value: Any, ascii_only: bool, separators: tuple[str, str]) -> None:
    line = json.dumps(value, ensure_ascii=ascii_only, separators=separators).encode()
    assert parse_object(line) == value


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["a", "b", '":', "\\"]), VALUES), max_size=4))
def test_never_loses_a_member(pairs: list[tuple[str, Any]]) -> None:
    """Whatever names are repeated: refused, or every member is there."""
    members = ",".join(f"{json.dumps(name)}:{json.dumps(value)}" for name, value in pairs)
    line = ("{" + members + "}").encode()
    if len({name for name, _ in pairs}) == len(pairs):
        assert parse_object(line) == _parse_exactly(line)
    else:
        with pytest.raises(LineError) as caught:
            parse_object(line)
        assert caught.value.code == "json_duplicate_name"


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"", "json_invalid"),
        (b"{", "json_invalid"),
        (b"{'a': 1}", "json_invalid"),
        (b'{"a": 1,}', "json_invalid"),
        (b'{"a": 1} {"b": 2}', "json_invalid"),
        (b'{"a": 01}', "json_invalid"),
        (b'{"a": 1e999}', "json_invalid"),
        (b'{"a": ' + b"7" * 10_000 + b"}", "json_invalid"),
        (b'{"a": "\\ud800"}', "json_invalid"),
        (b'{"a": "\x01"}', "json_invalid"),
        (b"s3://bucket/a.png", "json_invalid"),
        (b"[]", "json_not_an_object"),
        (b"null", "json_not_an_object"),
        (b"7", "json_not_an_object"),
        (b'"text"', "json_not_an_object"),
        (b'{"a": NaN}', "json_not_a_number"),
        (b'{"a": [1, -Infinity]}', "json_not_a_number"),
        (b'{"a": "\xff"}', "not_utf8"),
        (b'{"a": "\xed\xa0\x80"}', "not_utf8"),
        (b'{"a": "\x00"}', "nul_character"),
        (b'{"a": "\\u0000"}', "nul_character"),
        (b'{"a\\u0000": 1}', "nul_character"),
        (b'{"a": [{"b": "x\\u0000"}]}', "nul_character"),
        (b'{"a": 1, "a": 2}', "json_duplicate_name"),
        (b'{"a": 1, "\\u0061": 2}', "json_duplicate_name"),
        (b'{"a" : 1, "a" : 2}', "json_duplicate_name"),
        (b'{"x": {"a": 1, "a": 2}}', "json_duplicate_name"),
        (b'{"x": "\\":", "a" : 1, "a": 2}', "json_duplicate_name"),
        (b'{"a":' + b"[" * 40 + b"]" * 40 + b"}", "json_too_deep"),
        (b'{"a":' * 5000 + b"1" + b"}" * 5000, "json_too_deep"),
        (b"[" * 100_000, "json_too_deep"),
    ],
)
def test_refusals(line: bytes, code: str) -> None:
    with pytest.raises(LineError) as caught:
        parse_object(line)
    assert caught.value.code == code


def test_integers_of_any_size_are_exact() -> None:
    line = b'{"a": 9223372036854775807, "b": 9223372036854775808, "c": -12345678901234567890}'
    assert parse_object(line) == {
        "a": 9223372036854775807,
        "b": "9223372036854775808",
        "c": "-12345678901234567890",
    }
    digits = "7" * 300
    assert parse_object(b'{"serial": ' + digits.encode() + b"}") == {"serial": digits}


def test_an_escaped_backslash_before_u0000_is_text() -> None:
    assert parse_object(b'{"a": "\\\\u0000"}') == {"a": "\\u0000"}
