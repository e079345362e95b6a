"""Do the views still say what the migrations had them say? Auditors read them, not the tables."""

from __future__ import annotations

import psycopg
from sqlalchemy.engine import Connection

from lfv_store.audit.report import AuditReport, Findings
from lfv_store.database import driver_connection
from lfv_store.migrations.frozen.r0002_words import definitions

_SQLITE_VIEWS = "SELECT name, sql FROM sqlite_master WHERE type = 'view'"
_POSTGRES_VIEWS = (
    "SELECT relname, pg_get_viewdef(oid) FROM pg_class"
    " WHERE relkind = 'v' AND relnamespace = current_schema()::regnamespace"
)


def check_views(conn: Connection, report: AuditReport, findings: Findings) -> None:
    """Find views that are gone or were replaced."""
    sqlite = conn.dialect.name == "sqlite"
    rows = conn.exec_driver_sql(_SQLITE_VIEWS if sqlite else _POSTGRES_VIEWS)
    found: dict[str, str] = {name: text.strip() for name, text in rows}
    for name, definition in definitions(conn.dialect.name):
        expected: str | None = definition.strip()
        if name in found and not sqlite:
            try:
                expected = _as_postgres_has_it(conn, name, definition)
            except (psycopg.errors.InsufficientPrivilege, psycopg.errors.ReadOnlySqlTransaction):
                report.unchecked = (
                    "the views were not checked: that takes a temporary one, which this account"
                    " or server does not allow"
                )
                return
        if found.get(name) != expected:
            findings.add(
                "view",
                f"the view {name} is not the one that the release made: its rows prove nothing",
                table=name,
            )


def _as_postgres_has_it(conn: Connection, name: str, definition: str) -> str | None:
    """The text that the server itself makes of a definition; None if it can make nothing of it.

    Servers word a view anew when they print it, each release in its own way: so the view is made
    once more under another name, for this session, and undone.
    """
    temporary = f"lfv_expected_{name}"
    words = definition.replace(f"CREATE VIEW {name} AS", f"CREATE TEMPORARY VIEW {temporary} AS")
    driver = driver_connection(conn)
    try:
        with driver.transaction(force_rollback=True):
            driver.execute(words)
            row = driver.execute(f"SELECT pg_get_viewdef('{temporary}'::regclass)").fetchone()
    except psycopg.errors.ProgrammingError as error:
        if isinstance(error, psycopg.errors.InsufficientPrivilege):
            raise
        return None  # what it reads is not there any more
    return str(row[0]).strip()
