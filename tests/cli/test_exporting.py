"""The three formats of an export."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pyarrow.parquet as pq
import pytest

from lfv.cli.exporting import Column, Format, write_rows

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


def test_csv_can_be_read_back() -> None:
    table = list(csv.DictReader(io.StringIO(written(Format.CSV).decode(), newline="")))
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
        csv.DictReader(io.StringIO(written(Format.CSV, spreadsheet=True).decode(), newline=""))
    )
    assert table[0]["ref"] == '\'=1+1,"a"\r\nb'
    assert table[0]["confidence"] == "0.30000000000000004"


def test_json_lines_keep_types_and_the_order_of_columns() -> None:
    lines = written(Format.JSONL).splitlines()
    first = json.loads(lines[0])
    assert list(first) == [column.name for column in COLUMNS]
    assert first["attributes"] == {"serial": "ü-1", "n": [1, None]}
    assert first["at"] == "2026-03-04T05:06:07.000080Z"
    assert set(json.loads(lines[1]).values()) == {None}


def test_parquet_keeps_types() -> None:
    table = pq.read_table(io.BytesIO(written(Format.PARQUET)))
    assert [str(field.type) for field in table.schema] == [
        "string",
        "int64",
        "double",
        "bool",
        "timestamp[us, tz=UTC]",
        "string",
    ]
    first, second = table.to_pylist()
    assert first["at"] == AT.astimezone(UTC)
    assert json.loads(first["attributes"])["serial"] == "ü-1"
    assert set(second.values()) == {None}


@pytest.mark.parametrize("form", Format)
def test_no_rows_make_a_file_that_can_be_read(form: Format) -> None:
    data = written(form, [])
    if form is Format.PARQUET:
        assert pq.read_table(io.BytesIO(data)).num_rows == 0
    else:
        assert data.decode() in {"", ",".join(column.name for column in COLUMNS) + "\r\n"}


@pytest.mark.parametrize("form", Format)
def test_rows_are_taken_as_a_stream(form: Format) -> None:
    taken = 0

    class Target(io.BytesIO):
        def write(self, data: Any) -> int:
            sizes.append(taken)
            return super().write(data)

    def rows() -> Iterator[dict[str, Any]]:
        nonlocal taken
        for row in [ROWS[0]] * 25_000:
            taken += 1
            yield row

    sizes: list[int] = []
    assert write_rows(rows(), COLUMNS, Target(), form) == 25_000
    assert min(size for size in sizes if size) <= 10_000
