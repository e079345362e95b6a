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


@contextmanager
def translated() -> Iterator[None]:
    """Turn every SQLAlchemy, sqlite3 or psycopg error raised inside into a StoreError."""
    try:
        yield
    except sa_exc.DBAPIError as error:
        raise _from_driver(error.orig or error, error.connection_invalidated) from error
    except (sqlite3.Error, psycopg.Error) as error:
        raise _from_driver(error, lost=False) from error
    except sa_exc.TimeoutError as error:
        raise StoreUnavailable("all database connections are in use") from error
    except sa_exc.StatementError as error:
        if isinstance(error.orig, StoreError):
            raise error.orig from error
        raise InvalidRecord(_sentence(error.orig or error)) from error
    except sa_exc.SQLAlchemyError as error:
        raise StoreError(_sentence(error)) from error


def _from_driver(error: BaseException, lost: bool) -> StoreError:
    message = _sentence(error)
    if lost or _is_retryable(error):
        return StoreUnavailable(message)
    if isinstance(error, (sqlite3.IntegrityError, psycopg.IntegrityError)):
        unique = isinstance(error, psycopg.errors.UniqueViolation) or "UNIQUE" in message
        return RecordConflict(message) if unique else InvalidRecord(message)
    if isinstance(error, (psycopg.DataError, sqlite3.DataError)):
        return InvalidRecord(message)
    return StoreError(message)


def _is_retryable(error: BaseException) -> bool:
    if isinstance(error, sqlite3.Error):
        code: int = getattr(error, "sqlite_errorcode", 0) or 0
        return code & 0xFF in _SQLITE_RETRYABLE
    # psycopg's OperationalError covers lost connections, shutdowns, deadlocks, serialisation
    # failures, lock and statement timeouts: in all of them the transaction is gone as a whole.
    return isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError))


def _sentence(error: BaseException) -> str:
    """The first line of a driver's message: the rest may quote the statement and its data."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
