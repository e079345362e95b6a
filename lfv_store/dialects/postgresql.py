"""PostgreSQL: several machines, many writers at a time.

Nothing here outlives a transaction on the server, so that a pooler may give each transaction
another server connection (PgBouncer's transaction mode): no prepared statements, local settings.
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
from lfv_store.types import UtcDateTime

# Waiting half a minute for a lock means something is wrong: fail, retryably. A writer that hangs
# between two statements would hold the audit chain's lock: the server ends it.
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
# 58: BEFORE (2), DELETE (8), UPDATE (16) or TRUNCATE (32), once for the statement; of any column,
# without a condition; and the function still says what the migration had it say.
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

# The next step, by the beginning of the SQLSTATE; an error of connecting has none.
_NEXT_STEPS = {
    "": "check that the server runs, and that the URL has the right host, database and user",
    "25006": "this server is read-only: name the one that is written to",
    "26000": "a pooler moved the session: let it pool transactions or sessions, not statements",
    "3F000": "create the schema that search_path names",
    "42501": "its owner has to let this user do so",
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
    # The driver begins no transaction of its own: BEGIN goes with the first statements.
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
    def unguarded(self, conn: Connection, table: str) -> Iterator[None]:
        """Disable the trigger for the block; others wait, and never see it disabled."""
        conn.exec_driver_sql(f"ALTER TABLE {table} DISABLE TRIGGER {table}_append_only")
        yield
        conn.exec_driver_sql(f"ALTER TABLE {table} ENABLE TRIGGER {table}_append_only")

    def create_engine(self, url: URL, options: Mapping[str, Any]) -> sa.Engine:
        """An engine that finds closed connections before it uses them."""
        connect = {key: value for key, value in _CONNECT.items() if key not in url.query}
        # A prepared statement stays on one server connection; see the module's docstring.
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
        """REPEATABLE READ; `read_only` also refuses temporary tables and views."""
        return {"isolation_level": "REPEATABLE READ", "postgresql_readonly": read_only}

    def begin_write(self, conn: Connection) -> None:
        """BEGIN and the time-outs in one round trip."""
        driver_connection(conn).execute(_BEGIN)

    def begin_migration(self, conn: Connection, views: Collection[str]) -> None:
        """Wait for other migrations, and let tables change under the views.

        A view is replaced by one with the same columns that reads no table, so that other people's
        views on it stay. schema.upgrade() makes the real ones at the end.
        """
        # The connection has begun this transaction itself.
        conn.exec_driver_sql(_TIMEOUTS)
        conn.exec_driver_sql("SET LOCAL lock_timeout = '5min'")
        self.lock(conn, _MIGRATION_LOCK)
        for view, columns in conn.exec_driver_sql(_VIEW_COLUMNS).all():
            if view in views:
                conn.exec_driver_sql(f"CREATE OR REPLACE VIEW {view} AS SELECT {columns}")

    def end_migration(self, conn: Connection) -> None:
        """Nothing to do: references are checked all the time."""

    def now(self, conn: Connection) -> datetime:
        """The server's clock, so that machines whose clocks differ agree on what has expired."""
        moment: datetime = conn.exec_driver_sql("SELECT clock_timestamp()").scalar_one()
        return moment.astimezone(UTC)

    def error(self, error: BaseException, *, lost: bool, name: str) -> StoreError | None:
        """The store's error for one of psycopg's."""
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
        # failures, lock and statement timeouts: in all of them the transaction is gone as a whole.
        retryable = lost or isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError))
        kind = StoreUnavailable if retryable else StoreError
        found = kind(f"{name}: {message}; {step}" if step else f"{name}: {message}")
        if isinstance(found, StoreUnavailable):
            found.connection_lost = lost or not state or state.startswith(("08", "57P"))
        return found

    def lock(self, conn: Connection, key: int) -> None:
        """An advisory lock. The second key keeps schemas of one database apart."""
        conn.exec_driver_sql(pg_writes.lock_statement(key))

    def lock_run(self, conn: Connection, run_id: str) -> int | None:
        """FOR NO KEY UPDATE."""
        sql = "SELECT id FROM runs WHERE run_id = %s FOR NO KEY UPDATE"
        row = driver_connection(conn).execute(sql, (run_id,)).fetchone()
        return None if row is None else int(row[0])

    def next_change(self, conn: Connection) -> int:
        """A sequence's next value: growing, but not without gaps."""
        return int(conn.exec_driver_sql("SELECT nextval('audit_changes')").scalar_one())

    def insert(
        self, conn: Connection, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]
    ) -> None:
        """COPY."""
        copy_from = f"COPY {table} ({', '.join(columns)}) FROM STDIN"
        with driver_connection(conn).cursor() as cursor, cursor.copy(copy_from) as copy:
            for row in rows:
                copy.write_row(row)

    def begin_batch(
        self, conn: Connection, batch: Batch, *, span: int, begin: bool
    ) -> BatchFacts | None:
        """One round trip, as are write() and append()."""
        return pg_writes.begin_batch(conn, batch, span=span, first=f"{_BEGIN};" if begin else "")

    def write(self, conn: Connection, writes: Sequence[Write]) -> None:
        """One round trip for all."""
        pg_writes.write(conn, writes)

    def append(
        self, conn: Connection, writes: Sequence[Write], entry: EntryFields, *, lock: int | None
    ) -> None:
        """One round trip with the commit: the lock of the chain is held within the server only."""
        pg_writes.append(conn, writes, entry, lock=lock)

    def among(
        self, key: str, values: Sequence[Any], equal: Mapping[str, int]
    ) -> tuple[str, tuple[Any, ...]]:
        """The values are one parameter, an array."""
        conditions = [*(f"{name} = %s" for name in equal), f"{key} = ANY(%s)"]
        return " AND ".join(conditions), (*equal.values(), list(values))

    def day(self, column: str) -> str:
        """A date."""
        return f"({column} AT TIME ZONE 'UTC')::date"

    def hundredths(self, column: str) -> str:
        """Rounded down: a cast alone rounds to the nearest."""
        return f"CAST(floor({column} * 100) AS bigint)"

    def canonical(self, column: sa.Column[Any]) -> str:
        """Times, booleans and JSON as the text and numbers that SQLite stores."""
        name = column.name
        if isinstance(column.type, UtcDateTime):
            # to_char() gives NULL for infinity and leaves the era out: such times, which the store
            # never writes, are read as PostgreSQL prints them, so that they fit no digest.
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
        """PostgreSQL lets no text in that is not UTF-8."""
        return list(driver_connection(conn).execute(sql.replace("?", "%s"), parameters or None))

    @contextmanager
    def stream(
        self,
        conn: Connection,
        sql: str,
        *,
        any_text: bool = False,
    ) -> Iterator[Fetch]:
        """A cursor on the server."""
        with driver_connection(conn).cursor(name="lfv_audit", binary=True) as cursor:
            cursor.execute(sql)
            yield cursor.fetchmany

    def json_rows(self, table: str) -> str:
        """PostgreSQL's JSON operators."""
        return f"(content -> 'bulk' -> '{table}' ->> 'rows')::bigint"

    def tables(self, conn: Connection) -> dict[str, bool]:
        """Ordinary tables of the schema."""
        rows = conn.exec_driver_sql(
            f"SELECT relname, relrowsecurity FROM pg_class WHERE relkind = 'r'"
            f" AND relnamespace = {_SCHEMA}"
        )
        return {name: bool(secured) for name, secured in rows}

    def triggers(self, conn: Connection) -> dict[str, str]:
        """What their function says."""
        return {name: str(text) for name, text in conn.exec_driver_sql(_TRIGGERS)}

    def views(self, conn: Connection) -> dict[str, str]:
        """As this server words them."""
        rows = conn.exec_driver_sql(
            "SELECT relname, pg_get_viewdef(oid) FROM pg_class"
            f" WHERE relkind = 'v' AND relnamespace = {_SCHEMA}"
        )
        return {name: text.strip() for name, text in rows}

    def replace_view(self, conn: Connection, name: str, definition: str) -> None:
        """Views of other people that refer to it stay."""
        conn.exec_driver_sql(definition.replace("CREATE VIEW", "CREATE OR REPLACE VIEW", 1))

    def stored_view(self, conn: Connection, name: str, definition: str) -> str | None:
        """The text that the server itself makes of a definition.

        Servers word a view anew when they print it, each release in its own way: so the view is
        made once more under another name, for this session, and undone.
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
    """Have the pool replace a connection that the server has closed.

    Without a round trip: a server that has nothing to say has nothing sent either.
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
