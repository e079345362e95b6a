"""The database's schema revision, and the upgrade to that of this release."""

from __future__ import annotations

import threading
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from lfv_store.database import Database
from lfv_store.dialects import dialect_of
from lfv_store.errors import SchemaForeign, SchemaOutdated, SchemaTooNew
from lfv_store.views import definitions

#: All revisions, oldest first; a test compares them with the migration scripts.
REVISIONS = tuple(f"{number:04}" for number in range(1, 16))
HEAD = REVISIONS[-1]

MIGRATIONS = Path(__file__).parent / "migrations"

#: Alembic's `context` belongs to the process. Two upgrades at once would share a connection.
_one_upgrade = threading.Lock()


def revision(database: Database) -> str | None:
    """Return a database's revision; None if it has no tables of the store.

    Raises SchemaForeign for another program's database.
    """
    with database.read() as conn:
        return _revision(conn, database.name)


def _revision(conn: Connection, name: str) -> str | None:
    tables = set(sa.inspect(conn).get_table_names())
    found: str | None = None
    if "alembic_version" in tables:
        tables.remove("alembic_version")
        found = conn.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    if "audit_log" in tables or found in REVISIONS:
        return found
    # A PostgreSQL database may be shared with others, but for one Alembic only.
    if found is not None or (tables and not dialect_of(conn).many_writers):
        raise SchemaForeign(
            f"{name} holds another program's tables ({', '.join(sorted(tables)[:3])} ...):"
            " use a separate database"
        )
    return None


def upgrade(database: Database, to: str = HEAD) -> str | None:
    """Upgrade a database to a revision in one transaction, and return the revision before.

    If several processes upgrade at once, one does the work and the others wait for it.
    Raises SchemaTooNew, SchemaForeign.
    """
    views = dict(definitions(database.dialect))
    with database.migration(views) as conn:
        before = _revision(conn, database.name)
        _refuse_newer(before, database.name)
        if before != to:
            # Imported here, because loading it takes longer than opening an up-to-date database.
            from alembic import command
            from alembic.config import Config

            config = Config()
            config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
            config.attributes["connection"] = conn
            with _one_upgrade:
                command.upgrade(config, to)
        if to == HEAD:
            # Always, because they were replaced before the revision was known.
            for view, definition in views.items():
                database.dialect.replace_view(conn, view, definition)
        return before


def ensure(database: Database, migrate: bool) -> None:
    """Check that the database is at this release's revision, migrating it if allowed.

    Raises SchemaTooNew, SchemaOutdated, SchemaForeign, StoreError (see Dialect.check).
    """
    with database.read() as conn:
        database.dialect.check(conn, database.name)
        found = _revision(conn, database.name)
    if found == HEAD:
        return
    _refuse_newer(found, database.name)
    if not migrate:
        state = "has no tables yet" if found is None else f"is at revision {found}"
        raise SchemaOutdated(
            f"{database.name} {state}, this release needs {HEAD}: run `lfv db upgrade`"
        )
    upgrade(database)


def _refuse_newer(found: str | None, name: str) -> None:
    if found is not None and found not in REVISIONS:
        raise SchemaTooNew(
            f"{name} is at revision {found}, which this release does not know"
            f" (it knows up to {HEAD}): it was written by a newer release, use that one or a newer"
        )
