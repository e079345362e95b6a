"""Finds a part in all runs, by serial number, image, file name or id."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from lfv_store.dialects import Dialect, dialect_of
from lfv_store.repository import Repository
from lfv_store.tables import ImageTable, InspectionAttributeTable, InspectionTable
from lfv_store.views import INSPECTION_RESULTS

_COLUMNS = INSPECTION_RESULTS.c
#: A search for a part of a file name or attribute covers this many of the newest inspections.
SEARCHED = 200_000
#: Maximum number of values with a given start that are read for the newest.
_BEGINNINGS = 2_000
#: A shorter text is only searched for as an inspection's id, and in the newest inspections.
_SHORTEST_BEGINNING = 3


class PartSearch(Repository):
    """`store.part_search`."""

    def find(self, text: str, *, limit: int = 100) -> Sequence[dict[str, Any]]:
        """Find the inspections of a part in all runs, the newest first.

        `text` is an attribute's value (a serial number) or at least its first three characters, at
        least eight digits of an image's SHA-256, or an inspection's id. If nothing is found this
        way, `text` is searched in attributes and image names of the newest inspections (SEARCHED of
        them). Case does not matter.
        """
        text = text.strip()
        if not text:
            return []
        with self._database.read() as conn:
            names = _attribute_names(conn)
            found = set(conn.scalars(_by_attribute(names, text, limit)))
            if re.fullmatch(r"[0-9a-fA-F]{8,64}", text):
                found |= set(conn.scalars(_by_digest(text.lower(), limit)))
            if not found and len(text) >= _SHORTEST_BEGINNING:
                found = set(conn.scalars(_by_beginning(names, text, limit)))
            if text.isdecimal() and len(text) < 19 and not text.startswith("0"):
                found |= set(
                    conn.scalars(
                        sa.select(InspectionTable.id).where(InspectionTable.id == int(text))
                    )
                )
            if not found:
                dialect = dialect_of(conn)
                found = set(conn.scalars(_by_name(text, limit, dialect)))
                found |= set(conn.scalars(_within_attribute(text, limit, dialect)))
            rows = conn.execute(
                sa.select(INSPECTION_RESULTS)
                .where(_COLUMNS.inspection_id.in_(sorted(found)))
                .order_by(_COLUMNS.inspection_id.desc())
                .limit(limit)
            )
            return [dict(row) for row in rows.mappings()]

    def of_image(self, sha256: str) -> Sequence[dict[str, Any]]:
        """Return the newest 50 inspections of an image, the newest first."""
        with self._database.read() as conn:
            found = list(conn.scalars(_by_digest(sha256, 50)))
            rows = conn.execute(
                sa.select(INSPECTION_RESULTS)
                .where(_COLUMNS.inspection_id.in_(found))
                .order_by(_COLUMNS.inspection_id.desc())
            )
            return [dict(row) for row in rows.mappings()]


def _in_other_cases(text: str) -> list[str]:
    """Return a text as typed, in upper and in lower case: what an index can look up."""
    return list(dict.fromkeys((text, text.upper(), text.lower())))


def _attribute_names(conn: Connection) -> list[str]:
    """Return all names of attributes, with one index step for each."""
    table = InspectionAttributeTable
    names: list[str] = []
    last = conn.scalar(sa.select(sa.func.min(table.name)))
    while last is not None and len(names) < 1000:
        names.append(last)
        last = conn.scalar(sa.select(sa.func.min(table.name)).where(table.name > last))
    return names


def _by_attribute(names: Sequence[str], value: str, limit: int) -> sa.Select[Any]:
    table = InspectionAttributeTable
    return (
        sa.select(table.inspection_id)
        .where(table.name.in_(names), table.value.in_(_in_other_cases(value)))
        .order_by(table.inspection_id.desc())
        .limit(limit)
    )


def _by_digest(prefix: str, limit: int) -> sa.Select[Any]:
    return (
        sa.select(InspectionTable.id)
        .join(ImageTable, ImageTable.id == InspectionTable.image_id)
        .where(ImageTable.sha256 >= prefix, ImageTable.sha256 < prefix + "g")
        .order_by(InspectionTable.id.desc())
        .limit(limit)
    )


def _by_beginning(names: Sequence[str], text: str, limit: int) -> sa.Select[Any]:
    """Select by the beginning of an attribute's value; values are compared bytewise."""
    table = InspectionAttributeTable
    # One select for each spelling, because an index is used for only one of several ranges.
    some = sa.union(
        *(
            sa.select(
                sa.select(table.inspection_id)
                .where(table.name.in_(names), table.value >= one, table.value < f"{one}\U0010ffff")
                .limit(_BEGINNINGS)
                .subquery()
            )
            for one in _in_other_cases(text)
        )
    ).subquery()
    return sa.select(some.c.inspection_id).order_by(some.c.inspection_id.desc()).limit(limit)


def _contains(
    column: sa.SQLColumnExpression[str], text: str, dialect: Dialect
) -> sa.ColumnElement[bool]:
    """Whether a text is in a column, whatever the case of its letters."""
    # SQLite's LIKE ignores the case of ASCII letters by itself, in half the time.
    if dialect.name == "sqlite":
        return column.contains(text, autoescape=True)
    return column.icontains(text, autoescape=True)


def _by_name(text: str, limit: int, dialect: Dialect) -> sa.Select[Any]:
    newest = (
        sa.select(InspectionTable.id, InspectionTable.source_ref)
        .order_by(InspectionTable.id.desc())
        .limit(SEARCHED)
        .subquery()
    )
    return (
        sa.select(newest.c.id)
        .where(_contains(newest.c.source_ref, text, dialect))
        .order_by(newest.c.id.desc())
        .limit(limit)
    )


def _within_attribute(text: str, limit: int, dialect: Dialect) -> sa.Select[Any]:
    table = InspectionAttributeTable
    # Ids have gaps, so the oldest inspection to search is found by its position.
    oldest = (
        sa.select(InspectionTable.id)
        .order_by(InspectionTable.id.desc())
        .offset(SEARCHED - 1)
        .limit(1)
        .scalar_subquery()
    )
    return (
        sa.select(table.inspection_id)
        .distinct()
        .where(
            table.inspection_id >= sa.func.coalesce(oldest, 0),
            _contains(table.value, text, dialect),
        )
        .order_by(table.inspection_id.desc())
        .limit(limit)
    )
