"""The base of the store's repositories: one for runs, one for leases, and so on."""

from __future__ import annotations

from lfv_store.database import Database


class Repository:
    """Reads and writes in `database`; the audit log names `actor` for the changes."""

    def __init__(self, database: Database, actor: str) -> None:
        self._database = database
        self._actor = actor
