"""The declarative base: constraint names, and the column types of Python annotations."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any, ClassVar

import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, MappedColumn, mapped_column

from lfv_store.column_types import BIG, UTC_DATETIME

#: The store assigns ids, not the database; see lfv_store/audit/change.py.
Id = Annotated[int, mapped_column(BIG, primary_key=True, autoincrement=False)]

#: Text compared byte by byte on both databases, for digest order and indexed prefix searches.
BYTEWISE = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")

JsonValue = Annotated[dict[str, Any], mapped_column(sa.JSON(none_as_null=True))]
OptionalJson = Annotated[dict[str, Any] | None, mapped_column(sa.JSON(none_as_null=True))]
JsonText = Annotated[list[str], mapped_column(sa.JSON(none_as_null=True))]
JsonList = Annotated[list[dict[str, Any]], mapped_column(sa.JSON(none_as_null=True))]


class Base(DeclarativeBase):
    """All tables of the store."""

    metadata = sa.MetaData(
        naming_convention={
            "pk": "pk_%(table_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        int: BIG,
        str: sa.Text(),
        float: sa.Double(),
        bool: sa.Boolean(create_constraint=False),
        bytes: sa.LargeBinary(),
        date: sa.Date(),
        datetime: UTC_DATETIME,
    }


def one_of(column: str, values: tuple[str, ...]) -> sa.CheckConstraint:
    """Return a CHECK that a text column holds one of `values`."""
    words = ", ".join(f"'{value}'" for value in values)
    return sa.CheckConstraint(f"{column} IN ({words})", name=column)


def key_of(column: str) -> MappedColumn[int]:
    """Return a column of the primary key that refers to another table's key."""
    return mapped_column(sa.ForeignKey(column), primary_key=True, autoincrement=False)


def partial_index(name: str, *columns: str, where: str, unique: bool = False) -> sa.Index:
    """Return an index on the rows that meet a condition, in SQL that both databases accept."""
    condition = sa.text(where)
    return sa.Index(
        name, *columns, unique=unique, sqlite_where=condition, postgresql_where=condition
    )
