"""The edge where SQLAlchemy's and the drivers' errors become the store's own."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import sqlalchemy.exc as sa_exc

from lfv_store.errors import InvalidRecord, RecordConflict, StoreError, StoreUnavailable

_SQLITE_RETRYABLE = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PROTOCOL,
}


# What an operator can do about it, by SQLite's primary error code.
_SQLITE_WAYS_OUT = {
    sqlite3.SQLITE_CANTOPEN: "it has to be a file that this user may read and write, in a folder"
    " that this user may write to",
    sqlite3.SQLITE_READONLY: "this user needs to write to the file and its folder; to read only,"
    " work on a copy",
    sqlite3.SQLITE_NOTADB: "it is another file, or a damaged one: name the right one, or restore"
    " it from a backup",
    sqlite3.SQLITE_CORRUPT: "keep a copy as it is, and restore it from a backup",
    sqlite3.SQLITE_FULL: "make room there and try again; what was committed is kept",
    sqlite3.SQLITE_IOERR: "look at the disk, its space and its mounts, and try again",
    sqlite3.SQLITE_BUSY: "another process has been writing for too long: try again when it is done",
}
# The same, by the beginning of PostgreSQL's SQLSTATE; an error of connecting has none.
_POSTGRES_WAYS_OUT = {
    "": "see that the server runs, and that the URL has the right host, database and user",
    "25006": "this server only reads: name the one that is written to",
    "42501": "its owner has to let this user do so",
    "42P": "tables of this release are missing: restore the database from a backup",
    "53100": "make room on the server's disk and try again; what was committed is kept",
    "53300": "the server allows no more connections: try again, or raise max_connections",
    "55P03": "another session has held a lock for too long: try again when it is done",
    "57": "the server ended the session: try again",
}


@contextmanager
def translated(name: str) -> Iterator[None]:
    """Turn every SQLAlchemy, sqlite3 or psycopg error raised inside into a StoreError.

    `name` is how the database is called in messages; it holds no password.
    """
    try:
        yield
    except sa_exc.DBAPIError as error:
        raise _from_driver(error.orig or error, error.connection_invalidated, name) from error
    except (sqlite3.Error, psycopg.Error) as error:
        raise _from_driver(error, lost=False, name=name) from error
    except sa_exc.TimeoutError as error:
        raise StoreUnavailable(f"{name}: all connections of this process are in use") from error
    except sa_exc.StatementError as error:
        if isinstance(error.orig, StoreError):
            raise error.orig from error
        raise InvalidRecord(_sentence(error.orig or error)) from error
    except sa_exc.SQLAlchemyError as error:
        raise StoreError(_sentence(error)) from error


def _from_driver(error: BaseException, lost: bool, name: str) -> StoreError:
    message = _sentence(error)
    if isinstance(error, (sqlite3.IntegrityError, psycopg.IntegrityError)):
        unique = isinstance(error, psycopg.errors.UniqueViolation) or "UNIQUE" in message
        return RecordConflict(message) if unique else InvalidRecord(message)
    if isinstance(error, (psycopg.DataError, sqlite3.DataError)):
        return InvalidRecord(message)
    way_out = _way_out(error, message)
    message = f"{name}: {message}; {way_out}" if way_out else f"{name}: {message}"
    return StoreUnavailable(message) if lost or _is_retryable(error) else StoreError(message)


def _way_out(error: BaseException, message: str) -> str | None:
    if isinstance(error, sqlite3.Error):
        if message.startswith("no such table"):
            return _POSTGRES_WAYS_OUT["42P"]
        return _SQLITE_WAYS_OUT.get(_sqlite_code(error))
    state = getattr(error, "sqlstate", None) or ""
    for length in (5, 3, 2):
        if state[:length] in _POSTGRES_WAYS_OUT:
            return _POSTGRES_WAYS_OUT[state[:length]]
    return None


def _sqlite_code(error: sqlite3.Error) -> int:
    """The primary error code; 0 where the driver itself complains."""
    return (getattr(error, "sqlite_errorcode", 0) or 0) & 0xFF


def _is_retryable(error: BaseException) -> bool:
    if isinstance(error, sqlite3.Error):
        return _sqlite_code(error) in _SQLITE_RETRYABLE
    # psycopg's OperationalError covers lost connections, shutdowns, deadlocks, serialisation
    # failures, lock and statement timeouts: in all of them the transaction is gone as a whole.
    return isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError))


def _sentence(error: BaseException) -> str:
    """The first line of a driver's message: the rest may quote the statement and its data."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
