"""Hands out a run's pending lines to the processes that share its detection.

A worker claims a range of lines, and renews its claims with a heartbeat. The lines of a worker that
is lost go to the others once its last heartbeat expires. Lines with a record are no longer pending,
so they are never handed out again.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from lfv_store.dialects import dialect_of
from lfv_store.records.inspections import PendingItem
from lfv_store.repository import Repository
from lfv_store.row_mapping import pending_item
from lfv_store.runs import lock_run, require_run
from lfv_store.tables import PendingItemTable, RunWorkerTable

#: Claims per worker into which the last lines are divided.
_CLAIMS_OF_THE_REST = 4


@dataclass(frozen=True, slots=True)
class Holding:
    """A worker's claims, by first line, and the number of images of its finished ones."""

    claims: Collection[int] = ()
    images: int = 0


@dataclass(frozen=True, slots=True)
class RunWorker:
    """A process that shares a run's detection.

    `claims` counts those in hand, `images` those of its finished claims. `ending` and `message` say
    why it ended its work early.
    """

    worker: str
    is_live: bool
    claims: int
    images: int
    ending: str | None
    message: str | None


class RunWorkers(Repository):
    """`store.run_workers`. Only PostgreSQL lets many processes write at a time."""

    def beat(self, run_id: str, worker: str, holding: Holding, *, ttl: timedelta) -> int:
        """Join the run, or report that the worker is alive; return the number of live workers.

        Claims that are not in `holding` end. Raises UnknownRun.
        """

        def work(conn: Connection) -> int:
            run = lock_run(conn, run_id)
            now = dialect_of(conn).now(conn)
            _renew(conn, run, worker, holding, now + ttl)
            return len(_live(conn, run, now))

        return self._database.transact(work)

    def claim(
        self, run_id: str, worker: str, holding: Holding, *, most: int, fewest: int, ttl: timedelta
    ) -> list[PendingItem]:
        """Claim the next pending lines that nobody has claimed; [] if there are none.

        A claim has up to `most` lines. Towards the end of the run it has fewer, so that all workers
        are busy to the end, but not less than `fewest` if as many are left. Claims that are not in
        `holding` end. Raises UnknownRun.
        """

        def work(conn: Connection) -> list[PendingItem]:
            run = lock_run(conn, run_id)
            now = dialect_of(conn).now(conn)
            _renew(conn, run, worker, holding, now + ttl)
            live = _live(conn, run, now)
            items = _unclaimed(conn, run, live, most, fewest)
            if items:
                lines = {"first": items[0].line_number, "last": items[-1].line_number}
                _update(conn, run, worker, claims=[*live[worker].claims, lines])
            return items

        return self._database.transact(work)

    def leave(
        self,
        run_id: str,
        worker: str,
        images: int,
        ending: str | None = None,
        message: str | None = None,
    ) -> None:
        """End a worker's claims after `images`. `ending` and `message` say why it ends early."""

        def work(conn: Connection) -> None:
            run = lock_run(conn, run_id)
            now = dialect_of(conn).now(conn)
            last = {"images": images, "ending": ending, "message": message}
            _update(conn, run, worker, claims=[], expires_at=now, **last)

        self._database.transact(work)

    def list(self, run_id: str) -> Sequence[RunWorker]:
        """Return all workers since the last `clear`. Raises UnknownRun."""
        with self._database.read() as conn:
            run = require_run(conn, run_id)
            now = dialect_of(conn).now(conn)
            rows = conn.execute(
                sa.select(RunWorkerTable.__table__)
                .where(RunWorkerTable.run_id == run)
                .order_by(RunWorkerTable.worker)
            ).all()
        return [
            RunWorker(
                worker=row.worker,
                is_live=row.expires_at > now,
                claims=len(row.claims),
                images=row.images,
                ending=row.ending,
                message=row.message,
            )
            for row in rows
        ]

    def clear(self, run_id: str) -> None:
        """Forget all workers of a run, and with them their claims."""

        def work(conn: Connection) -> None:
            run = lock_run(conn, run_id)
            conn.execute(sa.delete(RunWorkerTable).where(RunWorkerTable.run_id == run))

        self._database.transact(work)


def _update(conn: Connection, run: int, worker: str, **values: Any) -> None:
    mine = (RunWorkerTable.run_id == run, RunWorkerTable.worker == worker)
    conn.execute(sa.update(RunWorkerTable).where(*mine).values(**values))


def _renew(conn: Connection, run: int, worker: str, holding: Holding, until: datetime) -> None:
    mine = (RunWorkerTable.run_id == run, RunWorkerTable.worker == worker)
    stored = conn.scalar(sa.select(RunWorkerTable.claims).where(*mine))
    if stored is None:
        conn.execute(
            sa.insert(RunWorkerTable).values(
                run_id=run, worker=worker, expires_at=until, images=holding.images, claims=[]
            )
        )
        return
    held = [claim for claim in stored if claim["first"] in holding.claims]
    _update(conn, run, worker, expires_at=until, claims=held, images=holding.images)


def _live(conn: Connection, run: int, now: datetime) -> dict[str, Any]:
    """Return the rows of the live workers, by worker; end the claims of those that are lost."""
    of_run = RunWorkerTable.run_id == run
    lost = RunWorkerTable.expires_at <= now
    conn.execute(sa.update(RunWorkerTable).where(of_run, lost).values(claims=[]))
    rows = conn.execute(sa.select(RunWorkerTable.__table__).where(of_run, ~lost))
    return {row.worker: row for row in rows}


def _unclaimed(
    conn: Connection, run: int, live: dict[str, Any], most: int, fewest: int
) -> list[PendingItem]:
    """Return the next lines between the claims."""
    table = PendingItemTable.__table__
    waiting = (table.c.run_id == run, ~table.c.duplicate)
    parts = len(live) * _CLAIMS_OF_THE_REST
    some = sa.select(table.c.line_number).where(*waiting).limit(most * parts).subquery()
    rest = conn.scalar(sa.select(sa.func.count()).select_from(some)) or 0
    limit = min(most, max(fewest, -(-rest // parts)))
    claims = sorted((one["first"], one["last"]) for row in live.values() for one in row.claims)
    after = 0
    for first, last in [*claims, (None, 0)]:
        between = [table.c.line_number > after]
        if first is not None:
            between.append(table.c.line_number < first)
        items = conn.execute(
            sa.select(table).where(*waiting, *between).order_by(table.c.line_number).limit(limit)
        ).mappings()
        found = [pending_item(row) for row in items]
        if found:
            return found
        after = max(after, last)
    return []
