"""Cleans text from outside: PostgreSQL refuses NUL, and UTF-8 unpaired surrogates."""

from __future__ import annotations

from typing import Any

import orjson

from lfv_store.dialects.base import canonical_json
from lfv_store.errors import InvalidRecord

MAX_INDEXED_NAME = 256
#: Bytes. A PostgreSQL index entry holds at most 2,704. Longer attributes are in the JSON only.
MAX_INDEXED_VALUE = 1024


def clean(text: str) -> str:
    """Replace NUL and unpaired surrogates by U+FFFD."""
    if "\x00" in text:
        text = text.replace("\x00", "\ufffd")
    if text.isascii():
        return text
    return text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")


def clean_or_none(text: str | None) -> str | None:
    """Clean text for a nullable column."""
    return None if text is None else clean(text)


def json_text(value: Any) -> str:
    """Return the canonical JSON of a value, as it is stored and digested.

    Raises InvalidRecord if JSON cannot hold the value.
    """
    try:
        text = canonical_json(value)
    except (TypeError, orjson.JSONEncodeError):
        try:
            text = canonical_json(_clean_tree(value))
        except (TypeError, orjson.JSONEncodeError) as error:
            raise InvalidRecord(f"not JSON: {error}") from error
    if "\\u0000" in text:  # rare enough to look closer: it may be an escaped backslash and u0000
        text = canonical_json(_clean_tree(value))
    return text


def json_value(value: Any) -> Any:
    """Return a value as a JSON column will return it. Raises InvalidRecord."""
    return orjson.loads(json_text(value))


def _clean_tree(value: Any) -> Any:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {clean(str(name)): _clean_tree(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_clean_tree(item) for item in value]
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 2**63:
        return str(value)
    return value


def attribute_rows(attributes: Any) -> list[tuple[str, str]]:
    """Return (name, value) of the attributes short enough to index, by name, without nulls."""
    rows: list[tuple[str, str]] = []
    for name, value in attributes.items():
        if value is None:
            continue
        if isinstance(value, str):
            text = clean(value)
        elif isinstance(value, bool):
            text = "true" if value else "false"
        else:
            text = json_text(value)
        key = clean(str(name))
        if len(text) <= MAX_INDEXED_VALUE and (
            len(text.encode()) <= MAX_INDEXED_VALUE and len(key.encode()) <= MAX_INDEXED_NAME
        ):
            rows.append((key, text))
    rows.sort(key=lambda row: row[0].encode())
    return rows
