"""The bytes that are hashed. Short on purpose: an auditor can write the same in any language."""

from __future__ import annotations

import hashlib
import struct
from base64 import b64decode, b64encode
from collections.abc import Iterable, Sequence
from typing import Any
from zlib import crc32

import orjson

GENESIS = "0" * 64
"""What the first entry calls its predecessor."""

Cell = int | float | str | None
Cells = Sequence[Cell]


def _foreign(value: object) -> dict[str, str]:
    """What stands for a cell of a type the store never writes, such as a BLOB in a text column.

    An object, which no digested row has: so such a row fits no digest.
    """
    return {"foreign": repr(value)}


def entry_hash(
    seq: int,
    change: int,
    at: str,
    actor: str,
    action: str,
    subject: str,
    content: str,
    previous: str,
) -> str:
    """SHA-256, in hex, over the JSON array of an entry's fields; `content` as its stored text."""
    fields = [seq, change, at, actor, action, subject, content, previous]
    return hashlib.sha256(orjson.dumps(fields, default=_foreign)).hexdigest()


def row_line(cells: Cells) -> bytes:
    """A row as the JSON array of its cells, in the order of the layout."""
    return orjson.dumps(cells, default=_foreign)


def row_digest(cells: Cells) -> str:
    """SHA-256, in hex, over one row's array."""
    return hashlib.sha256(row_line(cells)).hexdigest()


def row_lines(rows: Iterable[Any]) -> list[bytes]:
    """The arrays of many rows."""
    return [orjson.dumps(row) for row in rows]


def lines_digest(lines: Iterable[bytes]) -> str:
    """SHA-256, in hex, over the JSON array of many rows' arrays."""
    return hashlib.sha256(b"[" + b",".join(lines) + b"]").hexdigest()


class RowsDigest:
    """lines_digest() of rows that come in blocks, at a third of the time."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256(b"[")
        self._separator = b""

    def update(self, rows: list[Any]) -> None:
        """Add a block of rows, which must not be empty."""
        self._hash.update(self._separator)
        self._hash.update(memoryview(orjson.dumps(rows, default=_foreign))[1:-1])
        self._separator = b","

    def hexdigest(self) -> str:
        """The digest of the rows so far; ends it."""
        self._hash.update(b"]")
        return self._hash.hexdigest()


def lines_marks(lines: Iterable[bytes]) -> str:
    """A CRC-32 of each row, base64: proves nothing, but tells *which* row of a batch differs."""
    crcs = [crc32(line) for line in lines]
    return b64encode(struct.pack(f">{len(crcs)}I", *crcs)).decode()


def first_difference(marks: str, lines: Sequence[bytes]) -> int:
    """The position of the first row that does not fit its mark, or of the first missing one."""
    try:
        packed = b64decode(marks)
    except ValueError:  # not even base64: no row fits
        packed = b""
    packed = packed[: len(packed) // 4 * 4]
    expected = struct.unpack(f">{len(packed) // 4}I", packed)
    for position, line in enumerate(lines):
        if position >= len(expected) or crc32(line) != expected[position]:
            return position
    return len(lines)
