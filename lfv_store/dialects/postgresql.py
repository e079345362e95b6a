"""PostgreSQL: several machines, many writers at a time.

Nothing here has to outlive a transaction on the server, so a pooler may use another server
connection for each transaction (PgBouncer's transaction mode): settings are local, and prepared
statements are optional (postgresql_statements.py).
"""

# ruff: noqa: ARG002 -- methods of an interface
# ruff: noqa: S608 -- names in SQL text are constants of this package, values are parameters

from __future__ import annotations

import select
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, ClassVar

import psycopg
import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection

from lfv_store.column_types import UtcDateTime
from lfv_store.dialects import postgresql_writes as pg_writes
from lfv_store.dialects.base import (
    Batch,
    BatchFacts,
    Dialect,
    EntryFields,
    Fetch,
    Unchecked,
    Write,
    driver_connection,
    first_line,
)
from lfv_store.errors import InvalidRecord, RecordConflict, StoreError, StoreUnavailable

# A lock that takes half a minute means that something is wrong: fail with a retryable error. The
# server ends a writer that hangs between two statements and may hold the audit chain's lock.
_TIMEOUTS = (
    "SET LOCAL lock_timeout = '30s';"
    " SET LOCAL statement_timeout = '15min';"
    " SET LOCAL idle_in_transaction_session_timeout = '60s'"
)
_BEGIN = f"BEGIN; {_TIMEOUTS}"
_CONNECT: dict[str, Any] = {
    "connect_timeout": 10,
    "application_name": "lfv",
    "client_encoding": "utf8",
    "keepalives": 1,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
_MIGRATION_LOCK = 0x6C66_7603
_SCHEMA = "(SELECT oid FROM pg_namespace WHERE nspname = current_schema())"
# 58: BEFORE (2), DELETE (8), UPDATE (16) or TRUNCATE (32), per statement. The trigger must have no
# column list and no condition, and its function's source must be that of the migration.
_TRIGGERS = f"""
SELECT t.tgname, regexp_replace(trim(f.prosrc), '\\s+', ' ', 'g')
FROM pg_trigger t
JOIN pg_class c ON c.oid = t.tgrelid
JOIN pg_proc f ON f.oid = t.tgfoid
JOIN pg_language l ON l.oid = f.prolang
WHERE NOT t.tgisinternal AND t.tgenabled IN ('O', 'A') AND t.tgtype = 58 AND t.tgqual IS NULL
  AND t.tgattr = '' AND l.lanname = 'plpgsql' AND c.relnamespace = {_SCHEMA}
"""
_VIEW_COLUMNS = f"""
SELECT c.relname, string_agg(
    'NULL::' || format_type(a.atttypid, a.atttypmod)
    || coalesce(' COLLATE ' || quote_ident(n.nspname) || '.' || quote_ident(l.collname), '')
    || ' AS ' || quote_ident(a.attname), ', ' ORDER BY a.attnum)
FROM pg_class c
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
LEFT JOIN pg_collation l ON l.oid = a.attcollation
LEFT JOIN pg_namespace n ON n.oid = l.collnamespace
WHERE c.relkind = 'v' AND c.relnamespace = {_SCHEMA}
GROUP BY c.relname
"""

# The next step, by the start of the SQLSTATE, which is empty for connection errors.
_NEXT_STEPS = {
    "": "check that the server runs, and that the URL has the right host, database and user",
    "25006": "this server is read-only: name the primary",
    "26000": "a pooler moved the session: let it pool transactions or sessions, not statements",
    "3F000": "create the schema that search_path names",
    "42501": "let its owner grant this user the privilege",
    "42P01": "tables are missing; check the URL's database and search_path, and run"
    " `lfv db upgrade`",
    "42P05": "a pooler moved the session: let it pool transactions or sessions, not statements",
    "53100": "make room on the server's disk and try again; what was committed is kept",
    "53300": "the server allows no more connections: try again, or raise max_connections",
    "55P03": "another session has held a lock for too long: try again when it is done",
    "57": "the server ended the session: try again",
}


class Postgresql(Dialect):
    """A PostgreSQL database, through psycopg 3."""

    name = "postgresql"
    many_writers = True
    # The driver starts no transaction itself; BEGIN is sent with the first statements.
    write_options: ClassVar[Mapping[str, Any]] = {"isolation_level": "AUTOCOMMIT"}
    view_words: ClassVar[Mapping[str, str]] = {
        "now": "now()",
        "integer": "pg_catalog.int8",
        "float": "::float8",
        "greatest": "greatest",
        "least": "least",
        "join": "(SELECT string_agg({value}::text, '; ' ORDER BY {order}) FROM {rows})",
        "seconds": "extract(epoch FROM {end} - {start})::float8",
    }
    append_only_triggers: ClassVar[Mapping[str, str]] = {
        "{table}_append_only": "BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME"
        " USING ERRCODE = 'integrity_constraint_violation'; END"
    }

    @contextmanager
    def disable_guard(self, conn: Connection, table: str) -> Iterator[None]:
        """Disable the trigger during the block; others wait, and never see it disabled."""
        conn.exec_driver_sql(f"ALTER TABLE {table} DISABLE TRIGGER {table}_append_only")
        yield
        conn.exec_driver_sql(f"ALTER TABLE {table} ENABLE TRIGGER {table}_append_only")

    def compact(self, url: URL) -> None:
        """Do nothing, because autovacuum compacts."""

    def create_engine(self, url: URL, options: Mapping[str, Any]) -> sa.Engine:
        """Return an engine that detects closed connections before using them."""
        connect = {key: value for key, value in _CONNECT.items() if key not in url.query}
        # Once the driver has prepared a statement, it relies on it.
        connect["prepare_threshold"] = None
        engine = sa.create_engine(url, connect_args=connect, **options)
        sa.event.listen(engine, "connect", _prepare)
        sa.event.listen(engine, "checkout", _check_open)
        return engine

    def check(self, conn: Connection, name: str) -> None:
        """Refuse a database that cannot hold all text, or a schema that does not exist."""
        encoding, schema, path = conn.exec_driver_sql(
            "SELECT current_setting('server_encoding'), current_schema(),"
            " current_setting('search_path')"
        ).one()
        if encoding != "UTF8":
            raise StoreError(
                f"{name} has the encoding {encoding}, which cannot hold every file name: create a"
                " database with ENCODING 'UTF8' TEMPLATE template0 and name that one"
            )
        if schema is None:
            raise StoreError(
                f"{name} has no schema of the search_path {path}: create it, or name another"
            )

    def snapshot_options(self, *, read_only: bool) -> Mapping[str, Any]:
        """Return REPEATABLE READ; `read_only` also refuses temporary tables and views."""
        return {"isolation_level": "REPEATABLE READ", "postgresql_readonly": read_only}

    def begin_write(self, conn: Connection) -> None:
        """Send BEGIN and the time-outs in one round trip."""
        driver_connection(conn).execute(_BEGIN)

    def begin_migration(self, conn: Connection, views: Collection[str]) -> None:
        """Wait for other migrations, and allow tables to change under the views.

        Each view is replaced by one with the same columns that reads no table, so that users' views
        on it remain. schema.upgrade() restores the real ones at the end.
        """
        # The connection itself has started this transaction.
        conn.exec_driver_sql(_TIMEOUTS)
        conn.exec_driver_sql("SET LOCAL lock_timeout = '5min'")
        self.lock(conn, _MIGRATION_LOCK)
        for view, columns in conn.exec_driver_sql(_VIEW_COLUMNS).all():
            if view in views:
                conn.exec_driver_sql(f"CREATE OR REPLACE VIEW {view} AS SELECT {columns}")

    def end_migration(self, conn: Connection) -> None:
        """Do nothing, because references are always checked."""

    def now(self, conn: Connection) -> datetime:
        """Return the server's time, so that machines with different clocks agree on expiry."""
        moment: datetime = conn.exec_driver_sql("SELECT clock_timestamp()").scalar_one()
        return moment.astimezone(UTC)

    def error(self, error: BaseException, *, lost: bool, name: str) -> StoreError | None:
        """Translate an error of psycopg."""
        if not isinstance(error, psycopg.Error):
            return None
        message = first_line(error)
        if isinstance(error, psycopg.errors.UniqueViolation):
            return RecordConflict(message)
        if isinstance(error, (psycopg.IntegrityError, psycopg.DataError)):
            return InvalidRecord(message)
        state = error.sqlstate or ""
        steps = (_NEXT_STEPS.get(state[:length]) for length in (5, 3, 2))
        step = next((step for step in steps if step is not None), None)
        # psycopg's OperationalError covers lost connections, shutdowns, deadlocks, serialisation
        # failures, lock and statement timeouts. In all of them the transaction is rolled back.
        retryable = lost or isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError))
        kind = StoreUnavailable if retryable else StoreError
        found = kind(f"{name}: {message}; {step}" if step else f"{name}: {message}")
        if isinstance(found, StoreUnavailable):
            found.connection_lost = lost or not state or state.startswith(("08", "57P"))
        return found

    def lock(self, conn: Connection, key: int) -> None:
        """Take an advisory lock, one for each schema of a database."""
        pg_writes.take_lock(conn, key)

    def lock_run(self, conn: Connection, run_id: str) -> int | None:
        """Lock the row FOR NO KEY UPDATE and return its id."""
        sql = "SELECT id FROM runs WHERE run_id = %s FOR NO KEY UPDATE"
        row = driver_connection(conn).execute(sql, (run_id,)).fetchone()
        return None if row is None else int(row[0])

    def next_change(self, conn: Connection) -> int:
        """Return the next value of a sequence, which may have gaps."""
        return int(conn.exec_driver_sql("SELECT nextval('audit_changes')").scalar_one())

    def insert(
        self, conn: Connection, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]
    ) -> None:
        """Insert by COPY."""
        copy_from = f"COPY {table} ({', '.join(columns)}) FROM STDIN"
        with driver_connection(conn).cursor() as cursor, cursor.copy(copy_from) as copy:
            for row in rows:
                copy.write_row(row)

    def begin_batch(
        self, conn: Connection, batch: Batch, *, span: int, begin: bool
    ) -> BatchFacts | None:
        """Make one round trip, as do write() and append()."""
        return pg_writes.begin_batch(conn, batch, span=span, begin=_BEGIN if begin else None)

    def write(self, conn: Connection, writes: Sequence[Write]) -> None:
        """Execute all writes in one round trip."""
        pg_writes.write(conn, writes)

    def append(
        self, conn: Connection, writes: Sequence[Write], entry: EntryFields, *, lock: int | None
    ) -> None:
        """Append and commit in one round trip, so that the network does not prolong the lock."""
        pg_writes.append(conn, writes, entry, lock=lock)

    def among(
        self, key: str, values: Sequence[Any], equal: Mapping[str, int]
    ) -> tuple[str, tuple[Any, ...]]:
        """Pass the values as one parameter, an array."""
        conditions = [*(f"{name} = %s" for name in equal), f"{key} = ANY(%s)"]
        return " AND ".join(conditions), (*equal.values(), list(values))

    def day(self, column: str) -> str:
        """Convert to a date."""
        return f"({column} AT TIME ZONE 'UTC')::date"

    def hundredths(self, column: str) -> str:
        """Round down explicitly, because a cast rounds to the nearest."""
        return f"CAST(floor({column} * 100) AS bigint)"

    def canonical(self, column: sa.Column[Any]) -> str:
        """Convert times, booleans and JSON to the text and numbers that SQLite stores."""
        name = column.name
        if isinstance(column.type, UtcDateTime):
            # to_char() returns NULL for infinity and omits the era. Such times, which the store
            # never writes, are read as PostgreSQL prints them, so that they match no digest.
            return (
                f"CASE WHEN {name} >= '0001-01-01 00:00:00+00' AND {name} < 'infinity'"
                f" THEN to_char({name} AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')"
                f" ELSE {name}::text END"
            )
        if isinstance(column.type, sa.Boolean):
            return f"{name}::int"
        if isinstance(column.type, sa.JSON):
            return f"{name}::text"
        return name

    def select_raw(self, conn: Connection, sql: str, *parameters: Any) -> list[Any]:
        """Return rows; PostgreSQL contains only valid UTF-8."""
        return list(driver_connection(conn).execute(sql.replace("?", "%s"), parameters or None))

    @contextmanager
    def stream(
        self,
        conn: Connection,
        sql: str,
        *,
        any_text: bool = False,
    ) -> Iterator[Fetch]:
        """Stream from a cursor on the server."""
        with driver_connection(conn).cursor(name="lfv_audit", binary=True) as cursor:
            cursor.execute(sql)
            yield cursor.fetchmany

    def json_rows(self, table: str) -> str:
        """Use PostgreSQL's JSON operators."""
        return f"(content -> 'bulk' -> '{table}' ->> 'rows')::bigint"

    def tables(self, conn: Connection) -> dict[str, bool]:
        """Return the schema's ordinary tables."""
        rows = conn.exec_driver_sql(
            f"SELECT relname, relrowsecurity FROM pg_class WHERE relkind = 'r'"
            f" AND relnamespace = {_SCHEMA}"
        )
        return {name: bool(secured) for name, secured in rows}

    def triggers(self, conn: Connection) -> dict[str, str]:
        """Return the sources of the triggers' functions."""
        return {name: str(text) for name, text in conn.exec_driver_sql(_TRIGGERS)}

    def views(self, conn: Connection) -> dict[str, str]:
        """Return the definitions as this server prints them."""
        rows = conn.exec_driver_sql(
            "SELECT relname, pg_get_viewdef(oid) FROM pg_class"
            f" WHERE relkind = 'v' AND relnamespace = {_SCHEMA}"
        )
        return {name: text.strip() for name, text in rows}

    def replace_view(self, conn: Connection, name: str, definition: str) -> None:
        """Replace the view; users' views that refer to it remain."""
        conn.exec_driver_sql(definition.replace("CREATE VIEW", "CREATE OR REPLACE VIEW", 1))

    def stored_view(self, conn: Connection, name: str, definition: str) -> str | None:
        """Return a definition as the server prints it.

        Each server release prints views in its own way. The view is therefore created under
        another name for this session, printed and rolled back.
        """
        temporary = f"lfv_expected_{name}"
        words = definition.replace(
            f"CREATE VIEW {name} AS", f"CREATE TEMPORARY VIEW {temporary} AS"
        )
        driver = driver_connection(conn)
        try:
            with driver.transaction(force_rollback=True):
                driver.execute(words)
                row = driver.execute(f"SELECT pg_get_viewdef('{temporary}'::regclass)").fetchone()
        except (psycopg.errors.InsufficientPrivilege, psycopg.errors.ReadOnlySqlTransaction):
            raise Unchecked from None
        except psycopg.errors.ProgrammingError:
            return None
        return str(row[0]).strip()


def _prepare(connection: psycopg.Connection[Any], _record: object) -> None:
    # Poolers follow this setting, unlike others.
    connection.autocommit = True
    connection.execute("SET TIME ZONE 'UTC'")
    connection.autocommit = False


def _check_open(connection: psycopg.Connection[Any], *_: object) -> None:
    """Let the pool replace a connection that the server has closed.

    Usually without a round trip: a closed connection has data to read, an idle one has not.
    """
    if not connection.closed:
        poll = select.poll()
        poll.register(connection.fileno(), select.POLLIN)
        if not poll.poll(0):
            return
        try:  # it may be just a notice
            connection.execute("SELECT 1")
            connection.rollback()
        except psycopg.Error:
            pass
        else:
            return
    raise sa.exc.DisconnectionError
