"""What the store raises. No SQLAlchemy or driver error leaves this package.

    StoreError
    ├── StoreUnavailable        the database is unreachable, locked or too busy; try again later
    ├── SchemaError
    │   ├── SchemaForeign       the database is another program's
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
    ├── ReviewTaken             somebody else has the part, or has decided on it meanwhile
    └── HostingStopping         the model's open hosting is being stopped; wait for it and try again

Every class says in `retryable` whether the same call may be repeated as it is.
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
    """The database holds tables, and none of them is ours."""


class SchemaTooNew(SchemaError):
    """The database is at a revision this release does not know."""


class SchemaOutdated(SchemaError):
    """The database is at an older revision, or empty, and was not to be migrated."""


class InvalidRecord(StoreError):
    """The data handed in breaks a rule of the schema."""


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
    """The model's open hosting is stop-requested: wait until it is stopped, then acquire again."""

    retryable: ClassVar[bool] = True

    def __init__(self, hosting_id: int) -> None:
        super().__init__(f"hosting {hosting_id} of this model is being stopped")
        self.hosting_id = hosting_id


class ReviewTaken(StoreError):
    """Somebody else is reviewing the part, or has decided on it since it was shown."""
