"""Migrates the service's database to the current schema."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Column, Connection, MetaData, String, Table, insert, inspect, select

from lfv.server.errors import HomeError
from lfv.server.state.tables import metadata

#: The newest revision in ``migrations/versions``.
HEAD = "0002"

#: PRAGMA user_version of release 0.1.0, whose tables are revision 0001.
_RELEASE_0_1_0 = 3
#: PRAGMA user_version of databases with Alembic's revisions, which release 0.1.0 refuses.
_ALEMBIC = 4
_VERSION = Table("alembic_version", MetaData(), Column("version_num", String(32), primary_key=True))


def migrate(connection: Connection, path: Path) -> None:
    """Upgrade within the connection's transaction. Raises HomeError for an unknown schema."""
    tables = inspect(connection).get_table_names()
    if not tables:
        _create(connection)
        return
    current = None
    if _VERSION.name in tables:
        current = connection.execute(select(_VERSION.c.version_num)).scalar()
    if current == HEAD:
        return
    # Imported here, because a service with a new or current database does not need it.
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory
    from alembic.util import CommandError

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    number = int(connection.exec_driver_sql("PRAGMA user_version").scalar_one())
    if current is None and number == _RELEASE_0_1_0:
        command.stamp(config, "0001")
    elif current is None:
        raise _unknown(path, f"schema {number}")
    else:
        try:
            ScriptDirectory.from_config(config).get_revision(current)
        except CommandError:
            raise _unknown(path, f"revision {current}") from None
    command.upgrade(config, HEAD)
    connection.exec_driver_sql(f"PRAGMA user_version = {_ALEMBIC}")


def _create(connection: Connection) -> None:
    """Create the newest schema without Alembic, which would take half a second."""
    metadata.create_all(connection)
    _VERSION.create(connection)
    connection.execute(insert(_VERSION).values(version_num=HEAD))
    connection.exec_driver_sql(f"PRAGMA user_version = {_ALEMBIC}")


def _unknown(path: Path, version: str) -> HomeError:
    return HomeError(
        f"{path} has {version}, which this version of the service does not know: "
        "update lfv-pipeline, or use another folder"
    )
