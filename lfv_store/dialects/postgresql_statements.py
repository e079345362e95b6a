"""Statements that a batch of answers repeats, prepared once for each connection to PostgreSQL.

The server needs longer to plan them than to execute them. They are prepared in SQL, so that several
can be sent in one round trip, under names derived from their text.

A prepared statement belongs to one server connection. A pooler may assign a different one to each
transaction (PgBouncer's transaction mode), where the statements are missing or were prepared for
another client. Both are detected before a batch has read or written anything. From then on, that
connection sends whole statements.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import Any

import psycopg
from sqlalchemy.engine import Connection

from lfv_store.dialects.base import driver_connection

_PLACEHOLDER = re.compile(r"\$(\d+)")
# Plans are kept. A plan made for a small table would read all of it later, too.
_BY_INDEX = "SET LOCAL enable_seqscan = off; SET LOCAL jit = off"
_SESSION = "lfv_session"
#: Errors of a server connection that lacks the statements, or has them already.
_MOVED = (psycopg.errors.InvalidSqlStatementName, psycopg.errors.DuplicatePreparedStatement)


@dataclass(frozen=True)
class Statement:
    """A statement with parameters `$1`, `$2`, of `types`."""

    sql: str
    types: tuple[str, ...]

    @cached_property
    def name(self) -> str:
        """The name under which it is prepared, derived from its text."""
        return f"lfv_{sha256(self.definition.encode()).hexdigest()[:16]}"

    @property
    def definition(self) -> str:
        """The rest of PREPARE, after the name."""
        return f"({', '.join(self.types)}) AS {self.sql}"


@dataclass
class _Session:
    """What is known of a connection. `prepared_for` is the last transaction that may use them."""

    usable: bool = True
    prepared: Collection[Statement] = ()
    prepared_for: object = None


class Script:
    """Statements for one round trip, and their parameters.

    Args:
        prepared: The statements to be executed by name.
    """

    def __init__(self, prepared: Collection[Statement] = ()) -> None:
        self._prepared = prepared
        self._parts: list[str] = []
        self._parameters: list[Any] = []

    def add(self, sql: str, *parameters: Any) -> None:
        """Add SQL whose parameters are written `%s`."""
        self._parts.append(sql)
        self._parameters += parameters

    def call(self, statement: Statement, *values: Any) -> None:
        """Add a statement, with its parameters' values."""
        if statement in self._prepared:
            self.add(f"EXECUTE {statement.name}({', '.join(['%s'] * len(values))})", *values)
            return
        used: list[Any] = []

        def typed(found: re.Match[str]) -> str:
            place = int(found[1]) - 1
            used.append(values[place])
            return f"CAST(%s AS {statement.types[place]})"

        self.add(_PLACEHOLDER.sub(typed, statement.sql), *used)

    def send(self, conn: Connection) -> list[list[Any]]:
        """Send all in one round trip; return the rows of each statement that has a result."""
        found: list[list[Any]] = []
        with psycopg.ClientCursor(driver_connection(conn)) as cursor:
            cursor.execute(";".join(self._parts).encode(), self._parameters)
            while True:
                if cursor.description:
                    found.append(cursor.fetchall())
                if not cursor.nextset():
                    return found


def begin_with(
    conn: Connection,
    begin: str,
    statements: Collection[Statement],
    calls: Sequence[tuple[Statement, Sequence[Any]]],
) -> list[list[Any]]:
    """Start a transaction that repeats `statements`, and make its first calls; return their rows.

    Takes one round trip, and another one to prepare the statements. The first call must execute the
    last of `statements`: if that one is prepared, all are.
    """
    session: _Session = conn.info.setdefault(_SESSION, _Session())
    if session.usable:
        try:
            return _begin_prepared(conn, session, begin, statements, calls)
        except _MOVED:
            driver_connection(conn).execute("ROLLBACK")
            session.usable = False
    return _send(conn, Script(), begin, calls)


def _begin_prepared(
    conn: Connection,
    session: _Session,
    begin: str,
    statements: Collection[Statement],
    calls: Sequence[tuple[Statement, Sequence[Any]]],
) -> list[list[Any]]:
    begin = f"{begin}; {_BY_INDEX}"
    if not session.prepared:
        prepare = [f"PREPARE {statement.name} {statement.definition}" for statement in statements]
        _send(conn, Script(), ";".join([begin, *prepare]), ())
        session.prepared = statements
        begin = ""
    rows = _send(conn, Script(session.prepared), begin, calls)
    session.prepared_for = conn.get_transaction()
    return rows


def _send(
    conn: Connection,
    script: Script,
    begin: str,
    calls: Sequence[tuple[Statement, Sequence[Any]]],
) -> list[list[Any]]:
    if begin:
        script.add(begin)
    for statement, values in calls:
        script.call(statement, *values)
    return script.send(conn)


def prepared_in(conn: Connection) -> Collection[Statement]:
    """Return the statements that the transaction on this connection may execute by name."""
    session: _Session | None = conn.info.get(_SESSION)
    if session is None or session.prepared_for is not conn.get_transaction():
        return ()
    return session.prepared
