"""Column types that behave the same on SQLite and PostgreSQL."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator, TypeEngine

from lfv_store.errors import InvalidRecord

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
"""64 bits on both: SQLite's INTEGER is 64 bits wide, and only INTEGER can be a row id there."""


def utc_text(moment: datetime) -> str:
    """`2026-11-23 07:26:00.000000`: UTC, fixed width, so that text order is time order.

    Raises InvalidRecord for a naive datetime.
    """
    offset = moment.utcoffset()
    if offset is None:
        raise InvalidRecord(f"naive datetime {moment!r}: the store takes aware datetimes only")
    if offset:
        moment = moment.astimezone(UTC)
    return moment.replace(tzinfo=None).isoformat(" ", "microseconds")


def utc_datetime(text: str) -> datetime:
    """The aware datetime of what utc_text() wrote."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


class UtcDateTime(TypeDecorator[datetime]):
    """Aware datetimes in, aware UTC datetimes out; naive ones are refused.

    `timestamptz` on PostgreSQL, fixed-width text in UTC on SQLite, which its date functions read.
    """

    impl = sa.DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Choose the column type of the database."""
        if dialect.name == "sqlite":
            return dialect.type_descriptor(sa.Text())
        return dialect.type_descriptor(sa.DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """Refuse naive datetimes, hand over UTC."""
        if value is None:
            return None
        text = utc_text(value)
        return text if dialect.name == "sqlite" else value.astimezone(UTC)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """Give aware UTC datetimes."""
        if value is None:
            return None
        if dialect.name == "sqlite":
            return utc_datetime(value)
        moment: datetime = value
        return moment.astimezone(UTC)


def utc_day(moment: datetime) -> date:
    """The UTC calendar day of an aware datetime."""
    return moment.astimezone(UTC).date()
