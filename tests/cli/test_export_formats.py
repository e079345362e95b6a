"""The three formats of an export."""

from __future__ import annotations

import csv
import io
import json
import weakref
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, get_args

import duckdb
import pytest

from lfv.cli.export_formats import Column, Format, write_rows

COLUMNS = (
    Column("ref"),
    Column("line", "integer"),
    Column("confidence", "number"),
    Column("reused", "boolean"),
    Column("at", "time"),
    Column("attributes", "json"),
)
AT = datetime(2026, 3, 4, 7, 6, 7, 80, tzinfo=timezone(timedelta(hours=2)))
ROWS: list[dict[str, Any]] = [
    {
        "ref": '=1+1,"a"\r\nb',
        "line": 1,
        "confidence": 0.1 + 0.2,
        "reused": True,
        "at": AT,
        "attributes": {"serial": "ü-1", "n": [1, None]},
        "ignored": "x",
    },
    {"ref": None, "line": None, "confidence": None, "reused": None, "at": None, "attributes": None},
]


def written(form: Format, rows: Any = ROWS, **options: bool) -> bytes:
    target = io.BytesIO()
    assert write_rows(rows, COLUMNS, target, form, **options) == len(list(rows))
    return target.getvalue()


def read_parquet(data: bytes, folder: Path) -> tuple[dict[str, str], list[dict[str, Any]]]:
    """The types of the columns, and the rows."""
    file = folder / "read.parquet"
    file.write_bytes(data)
    with duckdb.connect() as connection:
        table = connection.read_parquet(str(file))
        types = dict(zip(table.columns, map(str, table.types), strict=True))
        return types, [dict(zip(table.columns, row, strict=True)) for row in table.fetchall()]


def test_csv_can_be_read_back() -> None:
    table = list(csv.DictReader(io.StringIO(written("csv").decode(), newline="")))
    assert table[0] == {
        "ref": '=1+1,"a"\r\nb',
        "line": "1",
        "confidence": "0.30000000000000004",
        "reused": "true",
        "at": "2026-03-04T05:06:07.000080Z",
        "attributes": '{"serial":"ü-1","n":[1,null]}',
    }
    assert set(table[1].values()) == {""}


def test_csv_for_a_spreadsheet_has_no_formula() -> None:
    table = list(
        csv.DictReader(
            io.StringIO(written("csv", spreadsheet=True).decode("utf-8-sig"), newline="")
        )
    )
    assert table[0]["ref"] == '\'=1+1,"a"\r\nb'
    assert table[0]["confidence"] == "0.30000000000000004"


def test_csv_for_a_spreadsheet_begins_with_a_byte_order_mark() -> None:
    assert written("csv", spreadsheet=True).startswith(b"\xef\xbb\xbfref")
    assert written("csv").startswith(b"ref")


def test_json_lines_keep_types_and_the_order_of_columns() -> None:
    lines = written("jsonl").splitlines()
    first = json.loads(lines[0])
    assert list(first) == [column.name for column in COLUMNS]
    assert first["attributes"] == {"serial": "ü-1", "n": [1, None]}
    assert first["at"] == "2026-03-04T05:06:07.000080Z"
    assert set(json.loads(lines[1]).values()) == {None}


def test_parquet_keeps_types(tmp_path: Path) -> None:
    types, (first, second) = read_parquet(written("parquet"), tmp_path)
    assert types == {
        "ref": "VARCHAR",
        "line": "BIGINT",
        "confidence": "DOUBLE",
        "reused": "BOOLEAN",
        "at": "TIMESTAMP WITH TIME ZONE",
        "attributes": "VARCHAR",
    }
    assert first["ref"] == ROWS[0]["ref"]
    assert first["confidence"] == ROWS[0]["confidence"]
    assert first["at"] == AT
    assert json.loads(first["attributes"])["serial"] == "ü-1"
    assert set(second.values()) == {None}


@pytest.mark.parametrize("form", get_args(Format))
def test_an_export_without_rows_can_be_read(form: Format, tmp_path: Path) -> None:
    data = written(form, [])
    if form == "parquet":
        types, rows = read_parquet(data, tmp_path)
        assert list(types) == [column.name for column in COLUMNS]
        assert rows == []
    else:
        assert data.decode() in {"", ",".join(column.name for column in COLUMNS) + "\r\n"}


@pytest.mark.parametrize("form", get_args(Format))
def test_rows_are_not_kept_in_memory(form: Format) -> None:
    class Tracked(dict[str, Any]):
        """A row that can be weakly referenced, unlike a plain dict."""

        __hash__ = object.__hash__  # type: ignore[assignment]

    alive: weakref.WeakSet[Tracked] = weakref.WeakSet()
    most = 0

    def rows() -> Iterator[dict[str, Any]]:
        nonlocal most
        for number in range(50_000):
            row = Tracked(ROWS[0], line=number)
            alive.add(row)
            most = max(most, len(alive))
            yield row

    assert write_rows(rows(), COLUMNS, io.BytesIO(), form) == 50_000
    assert most <= 20_000
