"""Hostings: the periods for which models are up, from the intent to start to the proof of the stop.

Every change of a hosting or a lease happens under one lock (see Change.lock_hostings) and has its
audit entry. Life of a hosting we own:  requested -> hosted -> stop_requested -> stopped,
with `failed` when the host gave up starting. Somebody else's: hosted -> left.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from lfv_store.audit.change import Change, commit
from lfv_store.costs import Costs
from lfv_store.database import Database
from lfv_store.errors import UnknownHosting
from lfv_store.records import Hosting, Throughput
from lfv_store.runs import require_run
from lfv_store.tables import HostingTable, LeaseHeartbeatTable, LeaseTable, RunTable
from lfv_store.text import clean, clean_or_none

OPEN = ("requested", "hosted", "stop_requested")
IN_USE = ("requested", "hosted")
_LOST = "not heard of until its lease ran out; what is finished is kept, resume the run"


class Hostings:
    """`store.hostings`."""

    def __init__(self, database: Database, actor: str) -> None:
        self._database = database
        self._actor = actor

    def get(self, hosting_id: int) -> Hosting:
        """A hosting by its id. Raises UnknownHosting."""
        with self._database.read() as conn:
            return _hosting(require_hosting(conn, hosting_id))

    def open(self) -> list[Hosting]:
        """Hostings that are not over, the oldest first: ours that may cost, others' that we use."""
        with self._database.read() as conn:
            return [_hosting(row) for row in select_hostings(conn, HostingTable.status.in_(OPEN))]

    def of_run(self, run_id: str) -> Sequence[Hosting]:
        """Hostings that a run held a lease on, the first requested first. Raises UnknownRun."""
        with self._database.read() as conn:
            run = require_run(conn, run_id)
            held = sa.select(LeaseTable.hosting_id).where(LeaseTable.run_id == run)
            return [_hosting(row) for row in select_hostings(conn, HostingTable.id.in_(held))]

    def list(self, limit: int = 50) -> Sequence[Hosting]:
        """Hostings, the last requested first."""
        newest = sa.select(HostingTable.id).order_by(HostingTable.id.desc()).limit(limit)
        with self._database.read() as conn:
            rows = select_hostings(conn, HostingTable.id.in_(newest))
        return [_hosting(row) for row in reversed(rows)]

    def throughput(self, model_id: int) -> Throughput:
        """See Costs.throughput()."""
        return Costs(self._database).throughput(model_id)

    def mark_hosted(self, hosting_id: int, at: datetime) -> None:
        """The model was seen HOSTED: it costs from `at` on. The first such time stays."""

        def work(unit: Change) -> None:
            row = _locked(unit, hosting_id)
            values: dict[str, Any] = {}
            if row.hosted_at is None and row.status in OPEN:
                values["hosted_at"] = at
            if row.status == "requested":
                values["status"] = "hosted"
            if values:
                unit.update("hostings", hosting_id, **values)

        commit(self._database, self._actor, "hosting.hosted", str(hosting_id), work)

    def mark_foreign(self, hosting_id: int) -> None:
        """Somebody else turned out to have started the model: use it, never stop it."""

        def work(unit: Change) -> None:
            row = _locked(unit, hosting_id)
            if row.owned and row.status in OPEN:
                status = "left" if row.status == "stop_requested" else "hosted"
                unit.update("hostings", hosting_id, owned=False, status=status)

        commit(self._database, self._actor, "hosting.foreign", str(hosting_id), work)

    def mark_stop_attempt(self, hosting_id: int, error: str | None) -> None:
        """Record a StopModel call; `error` is why it failed, None if it was accepted."""

        def work(unit: Change) -> None:
            row = _locked(unit, hosting_id)
            unit.update(
                "hostings",
                hosting_id,
                stop_attempts=row.stop_attempts + 1,
                stop_error=clean_or_none(error),
            )

        commit(self._database, self._actor, "hosting.stop_attempt", str(hosting_id), work)

    def mark_stopped(self, hosting_id: int, at: datetime) -> None:
        """The model was seen stopped: the hosting is over and costs nothing from `at` on."""

        def work(unit: Change) -> None:
            row = _locked(unit, hosting_id)
            if row.status in OPEN:
                unit.update(
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
        self,
        now: datetime | None = None,
        *,
        by: str,
        claim_for: timedelta = timedelta(seconds=60),
    ) -> Sequence[Hosting]:
        """What a sweeper is to stop now, claimed so that two sweepers do not do the same work.

        Ends all expired leases; hostings nobody holds any more become stop_requested. Gives every
        hosting that is stop_requested, not yet stopped, and not claimed by another sweeper.
        `now` is the database's time unless given.
        """

        def work(unit: Change) -> Sequence[Hosting]:
            unit.lock_hostings()
            moment = now or unit.now
            expire_leases(unit, moment)
            for row in select_hostings(unit.conn, HostingTable.status.in_(IN_USE)):
                if row.live_leases == 0:
                    let_go(unit, row, moment)
            claimable = sa.or_(
                HostingTable.claimed_until.is_(None),
                HostingTable.claimed_until <= moment,
                HostingTable.claimed_by == by,
            )
            rows = select_hostings(unit.conn, HostingTable.status == "stop_requested", claimable)
            for row in rows:
                unit.update(
                    "hostings", row.id, claimed_by=clean(by), claimed_until=moment + claim_for
                )
            return [_hosting(row) for row in rows]

        return commit(self._database, self._actor, "hostings.swept", by, work)


def select_hostings(
    conn: Connection, *conditions: sa.ColumnElement[bool]
) -> Sequence[Row[*tuple[Any, ...]]]:
    """Hostings with the number of their live leases, the oldest first."""
    live = (
        sa.select(sa.func.count())
        .select_from(LeaseTable)
        .join(LeaseHeartbeatTable, LeaseHeartbeatTable.lease_id == LeaseTable.id)
        .where(LeaseTable.hosting_id == HostingTable.id)
        .correlate(HostingTable)
        .scalar_subquery()
        .label("live_leases")
    )
    return conn.execute(
        sa.select(*HostingTable.__table__.c, live).where(*conditions).order_by(HostingTable.id)
    ).all()


def require_hosting(conn: Connection, hosting_id: int) -> Row[*tuple[Any, ...]]:
    """A hosting's row. Raises UnknownHosting."""
    rows = select_hostings(conn, HostingTable.id == hosting_id)
    if not rows:
        raise UnknownHosting(f"no hosting has id {hosting_id}")
    return rows[0]


def _locked(unit: Change, hosting_id: int) -> Row[*tuple[Any, ...]]:
    unit.lock_hostings()
    return require_hosting(unit.conn, hosting_id)


def expire_leases(unit: Change, now: datetime, hosting_id: int | None = None) -> None:
    """End the leases that were not heard of in time: all, or those of one hosting.

    The heartbeat row is deleted, and it is the row a heartbeat updates: so a heartbeat that comes
    at the same moment either saves the lease or learns that it is over.
    """
    statement = sa.delete(LeaseHeartbeatTable).where(LeaseHeartbeatTable.expires_at <= now)
    if hosting_id is not None:
        leases = sa.select(LeaseTable.id).where(LeaseTable.hosting_id == hosting_id)
        statement = statement.where(LeaseHeartbeatTable.lease_id.in_(leases))
    for lease_id in unit.conn.scalars(statement.returning(LeaseHeartbeatTable.lease_id)).all():
        unit.update("leases", lease_id, ended_at=now, end_reason="expired")
        _close_lost_run(unit, lease_id, now)


def _close_lost_run(unit: Change, lease_id: int, now: datetime) -> None:
    """A running run whose last lease was left to expire is gone: put it on record as crashed."""
    lost = (
        sa.select(RunTable.id)
        .join(LeaseTable, LeaseTable.run_id == RunTable.id)
        .where(LeaseTable.id == lease_id, RunTable.status == "running")
    )
    if not unit.is_sqlite:
        lost = lost.with_for_update(of=RunTable, key_share=True)
    run = unit.conn.scalar(lost)
    if run is None:
        return
    held = (
        sa.select(LeaseTable.id)
        .join(LeaseHeartbeatTable, LeaseHeartbeatTable.lease_id == LeaseTable.id)
        .where(LeaseTable.run_id == run)
        .limit(1)
    )
    if unit.conn.scalar(held) is None:
        unit.update("runs", run, status="crashed", message=_LOST, finished_at=now)


def let_go(unit: Change, row: Row[*tuple[Any, ...]], now: datetime) -> None:
    """Nobody holds a lease of this hosting: it is to be stopped, or left if it is not ours."""
    if row.owned:
        unit.update("hostings", row.id, status="stop_requested", stop_requested_at=now)
    else:
        unit.update("hostings", row.id, status="left")


def _hosting(row: Row[*tuple[Any, ...]]) -> Hosting:
    return Hosting(
        hosting_id=row.id,
        model_id=row.model_id,
        status=row.status,
        owned=row.owned,
        client_token=row.client_token,
        host_spec=row.host_spec,
        min_units=row.min_units,
        max_units=row.max_units,
        price_per_unit_hour=row.price_per_unit_hour,
        requested_by=row.requested_by,
        requested_at=row.requested_at,
        hosted_at=row.hosted_at,
        stop_requested_at=row.stop_requested_at,
        stopped_at=row.stopped_at,
        message=row.message,
        stop_attempts=row.stop_attempts,
        stop_error=row.stop_error,
        live_leases=row.live_leases,
    )
