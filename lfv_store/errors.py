"""The store's errors. No error of SQLAlchemy or a driver leaves this package.

    StoreError
    ├── StoreUnavailable        the database is unreachable, locked or too busy; try again later
    ├── SchemaError
    │   ├── SchemaForeign       the database belongs to another program
    │   ├── SchemaTooNew        the database was written by a newer release
    │   └── SchemaOutdated      the database needs `lfv db upgrade`
    ├── InvalidRecord           data that breaks a rule of the schema (naive time, unknown verdict)
    ├── RecordConflict          the same identity was recorded before with other content
    ├── UnknownRecord
    │   ├── UnknownModel
    │   ├── UnknownRun
    │   ├── UnknownInspection
    │   ├── UnknownHosting
    │   ├── UnknownUser
    │   └── UnknownLease
    ├── ReviewTaken             another person has the part, or has reviewed it meanwhile
    └── HostingStopping         the model's open hosting is being stopped; wait for it and try again

`retryable` says whether the same call may be repeated unchanged.
"""

from __future__ import annotations

from typing import ClassVar


class StoreError(Exception):
    """Anything the store could not do."""

    retryable: ClassVar[bool] = False


class StoreUnavailable(StoreError):
    """The database could not be reached, was locked for too long, or aborted the transaction.

    Nothing of the call was stored. Repeating it is safe: every write is idempotent.

    `connection_lost`: the server closed the connection, maybe long ago.
    """

    retryable: ClassVar[bool] = True
    connection_lost = False


class SchemaError(StoreError):
    """The database's schema is not the one this release works with."""


class SchemaForeign(SchemaError):
    """The database holds only tables of another program."""


class SchemaTooNew(SchemaError):
    """The database is at a revision this release does not know."""


class SchemaOutdated(SchemaError):
    """The database is empty or at an older revision, and migration was not allowed."""


class InvalidRecord(StoreError):
    """The data breaks a rule of the schema."""


class RecordConflict(StoreError):
    """The same identity was recorded before, with other content."""


class UnknownRecord(StoreError):
    """A row that the call refers to does not exist."""


class UnknownModel(UnknownRecord):
    """No model has this id."""


class UnknownRun(UnknownRecord):
    """No run has this run_id."""


class UnknownInspection(UnknownRecord):
    """No inspection has this id."""


class UnknownHosting(UnknownRecord):
    """No hosting has this id."""


class UnknownLease(UnknownRecord):
    """No lease has this id."""


class UnknownUser(UnknownRecord):
    """No user has this name."""


class HostingStopping(StoreError):
    """The model's open hosting is being stopped. Wait until it has stopped, then acquire again."""

    retryable: ClassVar[bool] = True

    def __init__(self, hosting_id: int) -> None:
        super().__init__(f"hosting {hosting_id} of this model is being stopped")
        self.hosting_id = hosting_id


class ReviewTaken(StoreError):
    """Another person is reviewing the part, or has reviewed it since it was shown."""
