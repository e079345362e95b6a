"""Rows of a result as the store's value types."""

from __future__ import annotations

from dataclasses import fields
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy.engine import RowMapping

from lfv_store.records import ImageFacts, PendingItem

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
        line_number=row["line_number"],
        source_ref=row["source_ref"],
        image=ImageFacts(**{name: row[f"image_{name}"] for name in _names(ImageFacts)}),
        attributes=row["attributes"],
        expected_is_anomalous=row["expected_is_anomalous"],
        expected_mask_ref=row["expected_mask_ref"],
        duplicate=row["duplicate"],
    )
