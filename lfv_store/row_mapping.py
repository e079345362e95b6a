"""Rows of a result as the store's value types."""

from __future__ import annotations

from dataclasses import fields
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy.engine import RowMapping

from lfv_store.audit.canonical import Cell
from lfv_store.clean_text import clean, clean_or_none, json_text
from lfv_store.records.inspections import LINE_FIELDS, ImageFacts, Line, PendingItem

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

R = TypeVar("R", bound="DataclassInstance")


def record_from(kind: type[R], row: RowMapping) -> R:
    """Return the columns that a value type has fields for, as a value of that type."""
    return kind(**{name: row[name] for name in _names(kind)})


@cache
def _names(kind: Any) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))


def pending_item(row: RowMapping) -> PendingItem:
    """Return a row of `pending_items` as a value."""
    return PendingItem(
        **{name: row[name] for name in LINE_FIELDS},
        image=ImageFacts(**{name: row[f"image_{name}"] for name in _names(ImageFacts)}),
        duplicate=row["duplicate"],
    )


def line_cells(line: Line) -> dict[str, Cell]:
    """Return the columns of a manifest line, as `inspections` and `pending_items` store them."""
    expected = line.expected_is_anomalous
    return {
        "line_number": line.line_number,
        "source_ref": clean(line.source_ref),
        "attributes": json_text(line.attributes),
        "expected_is_anomalous": None if expected is None else int(expected),
        "expected_mask_ref": clean_or_none(line.expected_mask_ref),
    }
