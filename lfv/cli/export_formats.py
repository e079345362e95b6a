"""Rows as CSV, JSON Lines or Parquet, written as a stream.

A row is a mapping, and `Column` defines the columns and their types. Lists and mappings become JSON
text in CSV and Parquet, and JSON in JSON Lines.
"""

from __future__ import annotations

import csv
import io
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import IO, Any, Literal

import orjson

_ROWS_TOGETHER = 10_000
#: Characters that start a formula in a spreadsheet (OWASP, CSV Injection).
_FORMULA = ("=", "+", "-", "@", "\t", "\r")

Row = Mapping[str, Any]
Format = Literal["csv", "jsonl", "parquet"]


@dataclass(frozen=True)
class Column:
    """A column's name and the type of its values, each of which may be None."""

    name: str
    kind: Literal["text", "integer", "number", "boolean", "time", "json"] = "text"


def write_rows(
    rows: Iterable[Row],
    columns: Sequence[Column],
    target: IO[bytes],
    form: Format,
    *,
    spreadsheet: bool = False,
) -> int:
    """Write `rows` to `target` and return their number.

    With `spreadsheet`, CSV starts with a byte order mark, and text that a spreadsheet would run as
    a formula is preceded by an apostrophe. Raises `OSError` if `target` cannot be written.
    """
    if form == "csv":
        return _write_csv(rows, columns, target, spreadsheet)
    if form == "jsonl":
        return _write_lines(rows, columns, target)
    return _write_parquet(rows, columns, target)


def _write_csv(
    rows: Iterable[Row], columns: Sequence[Column], target: IO[bytes], spreadsheet: bool
) -> int:
    text = io.StringIO(newline="")
    if spreadsheet:
        text.write("\ufeff")  # without this mark, Excel does not recognise UTF-8
    writer = csv.writer(text, lineterminator="\r\n")  # RFC 4180
    writer.writerow([column.name for column in columns])
    safe: Callable[[str], str] = _defuse if spreadsheet else str
    count = 0
    for batch in _batches(rows):
        writer.writerows(
            [_csv_cell(row.get(column.name), column, safe) for column in columns] for row in batch
        )
        count += len(batch)
        target.write(text.getvalue().encode("utf-8", "backslashreplace"))
        text.seek(0)
        text.truncate()
    target.write(text.getvalue().encode("utf-8", "backslashreplace"))
    return count


def _csv_cell(value: object, column: Column, safe: Callable[[str], str]) -> str:
    if value is None:
        return ""
    if column.kind == "text":
        return safe(str(value))
    if column.kind == "json":
        return _json_text(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return _iso(value)
    return repr(value) if isinstance(value, float) else str(value)


def _defuse(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text


def _write_lines(rows: Iterable[Row], columns: Sequence[Column], target: IO[bytes]) -> int:
    count = 0
    for row in rows:
        shown = {column.name: _json_value(row.get(column.name)) for column in columns}
        target.write(orjson.dumps(shown, option=orjson.OPT_APPEND_NEWLINE))
        count += 1
    return count


def _json_value(value: object) -> object:
    return _iso(value) if isinstance(value, datetime) else value


def _write_parquet(rows: Iterable[Row], columns: Sequence[Column], target: IO[bytes]) -> int:
    import duckdb

    types = {
        "text": "VARCHAR",
        "json": "VARCHAR",
        "integer": "BIGINT",
        "number": "DOUBLE",
        "boolean": "BOOLEAN",
        "time": "TIMESTAMPTZ",
    }
    flat = ({c.name: _parquet_value(row.get(c.name), c) for c in columns} for row in rows)
    with tempfile.TemporaryDirectory(prefix="lfv-export-") as folder:
        lines, parquet = Path(folder, "rows.jsonl"), Path(folder, "rows.parquet")
        with lines.open("wb") as file:
            count = _write_lines(flat, columns, file)
        with duckdb.connect(config={"autoinstall_known_extensions": False}) as connection:
            connection.read_json(
                str(lines),
                format="newline_delimited",
                columns={column.name: types[column.kind] for column in columns},
            ).write_parquet(str(parquet), compression="zstd")
        with parquet.open("rb") as file:
            shutil.copyfileobj(file, target)
    return count


def _parquet_value(value: object, column: Column) -> object:
    if value is None:
        return None
    if column.kind == "json":
        return _json_text(value)
    return str(value) if column.kind == "text" else value


def _json_text(value: object) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _iso(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _batches(rows: Iterable[Row]) -> Iterator[list[Row]]:
    iterator = iter(rows)
    while batch := list(islice(iterator, _ROWS_TOGETHER)):
        yield batch
