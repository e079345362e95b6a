"""Alembic's entry: run by lfv_store/schema.py, or by `alembic` itself with `-x url=...`."""

from __future__ import annotations

from alembic import context
from sqlalchemy.engine import Connection

from lfv_store.database import Database
from lfv_store.tables import Base


def _run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        compare_type=True,
        transactional_ddl=True,
        transaction_per_migration=False,
    )
    with context.begin_transaction():
        context.run_migrations()


def main() -> None:
    """Migrate on the connection passed by the caller, or on a new one."""
    given: Connection | None = context.config.attributes.get("connection")
    if given is not None:
        _run(given)
        return
    url = context.get_x_argument(as_dictionary=True).get("url")
    if url is None:
        raise SystemExit("name the database: alembic -x url=sqlite:///FILE ...")
    database = Database(url)
    try:
        with database.migration(()) as connection:
            _run(connection)
    finally:
        database.close()


main()
