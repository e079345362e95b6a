"""Hostings: the periods for which models are up, from the intent to start to the proof of the stop.

Every change of a hosting or a lease happens under one lock (see Change.lock_hostings) and has an
audit entry. A hosting that lfv owns goes through requested -> hosted -> stop_requested -> stopped,
one started outside lfv through hosted -> left. A forced stop takes either to stop_requested, even
with live leases.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from lfv_store.audit.change import Change, commit
from lfv_store.clean_text import clean, clean_or_none
from lfv_store.errors import UnknownHosting
from lfv_store.records.hostings import Hosting
from lfv_store.repository import Repository
from lfv_store.row_mapping import record_from
from lfv_store.runs import lock_run, require_run
from lfv_store.tables import HostingTable, LeaseHeartbeatTable, LeaseTable, RunTable
from lfv_store.tallies import update_tallies

OPEN = ("requested", "hosted", "stop_requested")
IN_USE = ("requested", "hosted")
_LOST = "lost contact until its lease expired; finished lines are kept, resume the run"


class Hostings(Repository):
    """`store.hostings`."""

    def get(self, hosting_id: int) -> Hosting:
        """Return a hosting by its id. Raises UnknownHosting."""
        with self._database.read() as conn:
            return require_hosting(conn, hosting_id)

    def open(self) -> Sequence[Hosting]:
        """Return hostings that are not over, the oldest first, also those not owned by lfv."""
        with self._database.read() as conn:
            return select_hostings(conn, HostingTable.status.in_(OPEN))

    def of_run(self, run_id: str) -> Sequence[Hosting]:
        """Return hostings that a run held a lease on, the oldest first. Raises UnknownRun."""
        with self._database.read() as conn:
            run = require_run(conn, run_id)
            held = sa.select(LeaseTable.hosting_id).where(LeaseTable.run_id == run)
            return select_hostings(conn, HostingTable.id.in_(held))

    def list(self, limit: int = 50) -> Sequence[Hosting]:
        """Return hostings, the newest first."""
        newest = sa.select(HostingTable.id).order_by(HostingTable.id.desc()).limit(limit)
        with self._database.read() as conn:
            return select_hostings(conn, HostingTable.id.in_(newest))[::-1]

    def mark_hosted(self, hosting_id: int, at: datetime) -> None:
        """Record that the model was seen HOSTED, and costs from `at` on. Repeats change nothing."""

        def work(change: Change) -> None:
            row = _lock(change, hosting_id)
            values: dict[str, Any] = {}
            if row.hosted_at is None and row.status in OPEN:
                values["hosted_at"] = at
            if row.status == "requested":
                values["status"] = "hosted"
            if values:
                change.update("hostings", hosting_id, **values)

        commit(self._database, self._actor, "hosting.hosted", str(hosting_id), work)

    def mark_foreign(self, hosting_id: int) -> None:
        """Record that the model was started outside lfv, so that lfv never stops it."""

        def work(change: Change) -> None:
            row = _lock(change, hosting_id)
            if row.owned and row.status in OPEN:
                status = "left" if row.status == "stop_requested" else "hosted"
                change.update("hostings", hosting_id, owned=False, status=status)

        commit(self._database, self._actor, "hosting.foreign", str(hosting_id), work)

    def request_stop(self, hosting_id: int) -> None:
        """Force a stop although runs may hold leases; no run starts the model on this hosting."""

        def work(change: Change) -> None:
            if _lock(change, hosting_id).status in IN_USE:
                change.update(
                    "hostings",
                    hosting_id,
                    status="stop_requested",
                    stop_requested_at=change.now,
                )

        commit(self._database, self._actor, "hosting.stop_requested", str(hosting_id), work)

    def mark_stop_attempt(self, hosting_id: int, error: str | None) -> None:
        """Record a StopModel call. `error` is None if the call was accepted."""

        def work(change: Change) -> None:
            row = _lock(change, hosting_id)
            change.update(
                "hostings",
                hosting_id,
                stop_attempts=row.stop_attempts + 1,
                stop_error=clean_or_none(error),
            )

        commit(self._database, self._actor, "hosting.stop_attempt", str(hosting_id), work)

    def mark_stopped(self, hosting_id: int, at: datetime) -> None:
        """Record that the model was seen stopped. The hosting costs nothing from `at` on."""

        def work(change: Change) -> None:
            row = _lock(change, hosting_id)
            if row.status in OPEN:
                change.update(
                    "hostings",
                    hosting_id,
                    status="stopped",
                    stopped_at=at,
                    stop_requested_at=row.stop_requested_at or at,
                    stop_error=None,
                    claimed_by=None,
                    claimed_until=None,
                )

        commit(self._database, self._actor, "hosting.stopped", str(hosting_id), work)

    def claim_sweepable(
        self, *, by: str, claim_for: timedelta = timedelta(seconds=60)
    ) -> Sequence[Hosting]:
        """Claim the hostings that a sweeper must stop now, so that no other sweeper does.

        Ends all expired leases. Hostings without leases become stop_requested. Returns the
        stop_requested hostings that no other sweeper has claimed.
        """

        def work(change: Change) -> Sequence[Hosting]:
            change.lock_hostings()
            expire_leases(change)
            for hosting in select_hostings(change.conn, HostingTable.status.in_(IN_USE)):
                if hosting.live_leases == 0:
                    close_hosting(change, hosting)
            claimable = sa.or_(
                HostingTable.claimed_until.is_(None),
                HostingTable.claimed_until <= change.now,
                HostingTable.claimed_by == by,
            )
            due = select_hostings(change.conn, HostingTable.status == "stop_requested", claimable)
            for hosting in due:
                change.update(
                    "hostings",
                    hosting.hosting_id,
                    claimed_by=clean(by),
                    claimed_until=change.now + claim_for,
                )
            return due

        return commit(self._database, self._actor, "hostings.swept", by, work)


def select_hostings(conn: Connection, *conditions: sa.ColumnElement[bool]) -> Sequence[Hosting]:
    """Return hostings with their numbers of live leases, the oldest first."""
    live = (
        sa.select(sa.func.count())
        .select_from(LeaseTable)
        .join(LeaseHeartbeatTable, LeaseHeartbeatTable.lease_id == LeaseTable.id)
        .where(LeaseTable.hosting_id == HostingTable.id)
        .correlate(HostingTable)
        .scalar_subquery()
        .label("live_leases")
    )
    rows = conn.execute(
        sa.select(HostingTable.__table__, HostingTable.id.label("hosting_id"), live)
        .where(*conditions)
        .order_by(HostingTable.id)
    )
    return [record_from(Hosting, row) for row in rows.mappings()]


def require_hosting(conn: Connection, hosting_id: int) -> Hosting:
    """Return a hosting by its id. Raises UnknownHosting."""
    found = select_hostings(conn, HostingTable.id == hosting_id)
    if not found:
        raise UnknownHosting(f"no hosting has id {hosting_id}")
    return found[0]


def _lock(change: Change, hosting_id: int) -> Hosting:
    change.lock_hostings()
    return require_hosting(change.conn, hosting_id)


def expire_leases(change: Change, hosting_id: int | None = None) -> None:
    """End the expired leases, of all hostings or of one.

    Deletes the row that a heartbeat updates. A heartbeat at the same moment therefore either keeps
    the lease or learns that it has ended.
    """
    statement = sa.delete(LeaseHeartbeatTable).where(LeaseHeartbeatTable.expires_at <= change.now)
    if hosting_id is not None:
        leases = sa.select(LeaseTable.id).where(LeaseTable.hosting_id == hosting_id)
        statement = statement.where(LeaseHeartbeatTable.lease_id.in_(leases))
    for lease_id in change.conn.scalars(statement.returning(LeaseHeartbeatTable.lease_id)).all():
        change.update("leases", lease_id, ended_at=change.now, end_reason="expired")
        _close_lost_run(change, lease_id)


def _close_lost_run(change: Change, lease_id: int) -> None:
    """Record a running run as crashed if its last lease has expired."""
    run_id = change.conn.scalar(
        sa.select(RunTable.run_id)
        .join(LeaseTable, LeaseTable.run_id == RunTable.id)
        .where(LeaseTable.id == lease_id, RunTable.status == "running")
    )
    if run_id is None:
        return
    run = lock_run(change.conn, run_id)
    status = change.conn.scalar(sa.select(RunTable.status).where(RunTable.id == run))
    held = change.conn.scalar(
        sa.select(LeaseTable.id)
        .join(LeaseHeartbeatTable, LeaseHeartbeatTable.lease_id == LeaseTable.id)
        .where(LeaseTable.run_id == run)
        .limit(1)
    )
    if status == "running" and held is None:
        update_tallies(change, run)
        change.update("runs", run, status="crashed", message=_LOST, finished_at=change.now)


def close_hosting(change: Change, hosting: Hosting) -> None:
    """Close a hosting without leases: request its stop, or leave it if lfv does not own it."""
    if hosting.owned:
        change.update(
            "hostings", hosting.hosting_id, status="stop_requested", stop_requested_at=change.now
        )
    else:
        change.update("hostings", hosting.hosting_id, status="left")
