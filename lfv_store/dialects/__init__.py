"""The differences between SQLite and PostgreSQL: one module each, behind one interface."""

from __future__ import annotations

from functools import cache

from sqlalchemy.engine import URL, Connection

from lfv_store.dialects.base import Dialect


def dialect_of(database: URL | Connection) -> Dialect:
    """Return the dialect of a URL or connection."""
    if isinstance(database, URL):
        return _dialect(database.get_backend_name())
    return _dialect(database.dialect.name)


@cache
def _dialect(name: str) -> Dialect:
    """Load one dialect, so that users of SQLite do not load PostgreSQL's driver."""
    if name == "sqlite":
        from lfv_store.dialects.sqlite import Sqlite

        return Sqlite()
    if name == "postgresql":
        from lfv_store.dialects.postgresql import Postgresql

        return Postgresql()
    raise KeyError(name)


__all__ = ["Dialect", "dialect_of"]
