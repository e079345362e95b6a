"""Which revision a database is at, and bringing it to ours."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from lfv_store.database import Database
from lfv_store.errors import SchemaForeign, SchemaOutdated, SchemaTooNew

REVISIONS = ("0001", "0002")
"""All revisions, oldest first; a test compares them with the migration scripts."""
HEAD = REVISIONS[-1]

MIGRATIONS = Path(__file__).parent / "migrations"
_MIGRATION_LOCK = 0x6C66_7603


def revision(database: Database) -> str | None:
    """The revision that a database is at; None for a database without our tables.

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
    if found is not None or (conn.dialect.name == "sqlite" and tables):
        raise SchemaForeign(
            f"{name} holds another program's tables ({', '.join(sorted(tables)[:3])} ...):"
            " name a database of its own"
        )
    return None


def upgrade(database: Database, to: str = HEAD) -> str | None:
    """Bring a database to a revision, in one transaction; gives the revision it was at before.

    Of several processes that upgrade at once, one does the work and the others find it done.
    Raises SchemaTooNew, SchemaForeign.
    """
    with database.write() as conn:
        if not database.is_sqlite:
            conn.exec_driver_sql("SET LOCAL lock_timeout = '5min'")
            conn.exec_driver_sql(
                f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK}, hashtext(current_schema()))"
            )
        before = _revision(conn, database.name)
        _refuse_newer(before, database.name)
        if before != to:
            # Imported here: it takes longer to load than a current database takes to open.
            from alembic import command
            from alembic.config import Config

            config = Config()
            config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
            config.attributes["connection"] = conn
            command.upgrade(config, to)
        return before


def ensure(database: Database, migrate: bool) -> None:
    """See that the database is at our revision; migrate it if that is wanted.

    Raises SchemaTooNew, SchemaOutdated, SchemaForeign.
    """
    found = revision(database)
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
