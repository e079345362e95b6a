"""Prunings: who deleted what can be made again, when, and how much of it.

They are entries of the audit log alone: no row says what is gone.
"""

from __future__ import annotations

from collections.abc import Sequence

from lfv_store.audit.change import Change, commit
from lfv_store.database import Database
from lfv_store.text import clean


class Prunings:
    """`store.prunings`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(
        self,
        by: str,
        what: str,
        *,
        older_than_days: float,
        number: int,
        size_bytes: int | None = None,
        runs: Sequence[str] = (),
    ) -> None:
        """Record what is about to be deleted.

        Args:
            by: Who deletes.
            what: "reports", "pictures" or "flow-runs".
            older_than_days: The age from which on it is deleted.
            number: How many are deleted.
            size_bytes: How large they are together, where that is known.
            runs: Ids of runs whose reports they are.
        """
        facts: dict[str, object] = {"older_than_days": older_than_days, "number": number}
        facts |= {"size_bytes": size_bytes, "runs": list(runs) or None}

        def work(unit: Change) -> None:
            unit.state(**{name: value for name, value in facts.items() if value is not None})

        commit(self._database, clean(by), "pruned", what, work)
