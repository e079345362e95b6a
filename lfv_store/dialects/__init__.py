"""What SQLite and PostgreSQL do differently: one module each, behind one interface."""

from __future__ import annotations

from sqlalchemy.engine import URL, Connection

from lfv_store.dialects.base import Dialect
from lfv_store.dialects.postgresql import Postgresql
from lfv_store.dialects.sqlite import Sqlite

_DIALECTS: dict[str, Dialect] = {"sqlite": Sqlite(), "postgresql": Postgresql()}


def dialect_of(database: URL | Connection) -> Dialect:
    """The dialect of a URL or connection."""
    if isinstance(database, URL):
        return _DIALECTS[database.get_backend_name()]
    return _DIALECTS[database.dialect.name]


__all__ = ["Dialect", "dialect_of"]
