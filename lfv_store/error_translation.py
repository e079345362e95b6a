"""Translates errors of SQLAlchemy and the drivers into the store's own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy.exc as sa_exc

from lfv_store.dialects import Dialect
from lfv_store.dialects.base import first_line
from lfv_store.errors import InvalidRecord, StoreError, StoreUnavailable


@contextmanager
def translate_errors(dialect: Dialect, name: str) -> Iterator[None]:
    """Turn every error of SQLAlchemy or the dialect's driver into a StoreError.

    `name` is the database's name in messages, without a password.
    """
    try:
        yield
    except StoreError:
        raise
    except sa_exc.DBAPIError as error:
        known = dialect.error(error.orig or error, lost=error.connection_invalidated, name=name)
        raise known or StoreError(f"{name}: {first_line(error)}") from error
    except sa_exc.TimeoutError as error:
        raise StoreUnavailable(f"{name}: all connections of this process are in use") from error
    except sa_exc.StatementError as error:
        if isinstance(error.orig, StoreError):
            raise error.orig from error
        raise InvalidRecord(first_line(error.orig or error)) from error
    except sa_exc.SQLAlchemyError as error:
        raise StoreError(first_line(error)) from error
    except Exception as error:
        known = dialect.error(error, lost=False, name=name)
        if known is None:
            raise
        raise known from error
