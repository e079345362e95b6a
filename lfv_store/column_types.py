"""Column types that behave the same on SQLite and PostgreSQL."""

# ruff: noqa: ARG002 -- methods of an interface

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

from lfv_store.errors import InvalidRecord

#: 64 bits on both databases. In SQLite only INTEGER, which has 64 bits, can be a row id.
BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def utc_text(moment: datetime) -> str:
    """Format a time in UTC at a fixed width, so that text sorts by time.

    The form is `2026-11-23 07:26:00.000000`. Raises InvalidRecord for a naive datetime.
    """
    offset = moment.utcoffset()
    if offset is None:
        raise InvalidRecord(f"naive datetime {moment!r}: the store accepts aware datetimes only")
    if offset:
        moment = moment.astimezone(UTC)
    return moment.replace(tzinfo=None).isoformat(" ", "microseconds")


def utc_datetime(text: str) -> datetime:
    """Parse what utc_text() wrote into an aware datetime."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


class UtcDateTime(TypeDecorator[datetime]):
    """A `timestamptz` column. Refuses naive datetimes and returns UTC."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """Refuse naive datetimes and convert to UTC."""
        if value is None:
            return None
        utc_text(value)
        return value.astimezone(UTC)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """Return aware UTC datetimes."""
        if value is None:
            return None
        moment: datetime = value
        return moment.astimezone(UTC)


class UtcText(TypeDecorator[datetime]):
    """A time as fixed-width UTC text, which SQLite's date functions read."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> str | None:
        """Refuse naive datetimes and convert to text."""
        return None if value is None else utc_text(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """Return aware UTC datetimes."""
        return None if value is None else utc_datetime(value)


#: The column type of times.
UTC_DATETIME = UtcDateTime().with_variant(UtcText(), "sqlite")
