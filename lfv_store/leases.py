"""Leases: a run's claim on a hosting. The last release of a hosting that lfv owns stops it.

A lease is live while it has a heartbeat row; hostings.expire_leases says why.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from uuid import uuid4

import sqlalchemy as sa
from sqlalchemy.engine import Row

from lfv_store.audit.change import Change, commit
from lfv_store.errors import HostingStopping, InvalidRecord, UnknownLease
from lfv_store.hostings import (
    IN_USE,
    OPEN,
    close_hosting,
    expire_leases,
    require_hosting,
    select_hostings,
)
from lfv_store.models import require_model
from lfv_store.records.base import JsonObject
from lfv_store.records.hostings import Hosting, Lease
from lfv_store.repository import Repository
from lfv_store.runs import lock_run
from lfv_store.tables import HostingTable, LeaseHeartbeatTable, LeaseTable, RunTable
from lfv_store.tallies import update_tallies


class Leases(Repository):
    """`store.leases`."""

    def acquire(
        self,
        model_id: int,
        run_id: str,
        *,
        host_spec: JsonObject,
        units: tuple[int, int | None],
        price_per_unit_hour: float,
        ttl: timedelta,
        already_hosted: bool,
    ) -> Lease:
        """Join the model's open hosting or create one, committing the intent before StartModel.

        `units`: (MinInferenceUnits, MaxInferenceUnits or None). `price_per_unit_hour`: cost of an
        inference unit per hour, in any currency. `already_hosted`: the model was seen hosted;
        unless lfv has an open hosting of it, it was started outside lfv and is never stopped. A
        hosting whose run died before the model was seen hosted is taken over (`must_start`) with
        the same client token.

        Raises HostingStopping, UnknownRun, UnknownModel, InvalidRecord.
        """
        if ttl <= timedelta(0):
            raise InvalidRecord("a lease's time to live must be positive")
        if not math.isfinite(price_per_unit_hour):
            raise InvalidRecord(f"a price must be a number, not {price_per_unit_hour!r}")

        def work(change: Change) -> Lease:
            change.lock_hostings()
            now = change.now
            run = lock_run(change.conn, run_id)
            update_tallies(change, run)  # answers so far count for the previous hosting
            _revive(change, run)
            require_model(change.conn, model_id)
            hosting = _open_hosting(change, model_id)
            if hosting is not None:
                if hosting.status == "stop_requested":
                    raise HostingStopping(hosting.hosting_id)
                expire_leases(change, hosting.hosting_id)
                hosting = require_hosting(change.conn, hosting.hosting_id)
                # The run that requested it is gone, so this one starts the model.
                is_abandoned = hosting.status == "requested" and hosting.live_leases == 0
                must_start = hosting.owned and is_abandoned
            else:
                minimum, maximum = units
                hosting_id = change.insert(
                    "hostings",
                    model_id=model_id,
                    status="hosted" if already_hosted else "requested",
                    owned=not already_hosted,
                    client_token=uuid4().hex,
                    host_spec=host_spec,
                    min_units=minimum,
                    max_units=maximum,
                    price_per_unit_hour=float(price_per_unit_hour),
                    requested_by=run_id,
                    requested_at=now,
                    hosted_at=now if already_hosted else None,
                    stop_attempts=0,
                )
                hosting = require_hosting(change.conn, hosting_id)
                must_start = not already_hosted
            lease_id = change.insert(
                "leases", hosting_id=hosting.hosting_id, run_id=run, acquired_at=now
            )
            change.conn.execute(
                sa.insert(LeaseHeartbeatTable).values(
                    lease_id=lease_id,
                    beat_at=now,
                    expires_at=now + ttl,
                    ttl_seconds=ttl.total_seconds(),
                )
            )
            return Lease(
                lease_id=lease_id,
                hosting_id=hosting.hosting_id,
                client_token=hosting.client_token,
                must_start=must_start,
                owned=hosting.owned,
                hosting_status=hosting.status,
                expires_at=now + ttl,
            )

        return commit(self._database, self._actor, "lease.acquired", run_id, work)

    def heartbeat(self, lease_id: int) -> bool:
        """Report that the holder is alive. False if the lease was released, or expired and swept.

        A lease that has expired but was not swept yet is renewed.
        """
        with self._database.write() as conn:
            now = self._database.dialect.now(conn)
            mine = LeaseHeartbeatTable.lease_id == lease_id
            ttl = conn.scalar(sa.select(LeaseHeartbeatTable.ttl_seconds).where(mine))
            if ttl is None:
                return False
            result = conn.execute(
                sa.update(LeaseHeartbeatTable)
                .where(mine)
                .values(beat_at=now, expires_at=now + timedelta(seconds=ttl))
            )
            return result.rowcount == 1

    def call_off(self, run_id: str) -> None:
        """Tell the processes of a run to finish their images and accept no others."""
        with self._database.write() as conn:
            mine = sa.select(LeaseTable.id).join(RunTable).where(RunTable.run_id == run_id)
            conn.execute(
                sa.update(LeaseHeartbeatTable)
                .where(LeaseHeartbeatTable.lease_id.in_(mine))
                .values(called_off=True)
            )

    def is_wanted(self, run_id: str) -> bool:
        """Whether a run has a live lease that was not called off, so that its work continues."""
        wanted = (
            sa.select(LeaseHeartbeatTable.lease_id)
            .join(LeaseTable, LeaseTable.id == LeaseHeartbeatTable.lease_id)
            .join(RunTable, RunTable.id == LeaseTable.run_id)
            .where(RunTable.run_id == run_id, ~LeaseHeartbeatTable.called_off)
        )
        with self._database.read() as conn:
            return conn.execute(wanted.limit(1)).first() is not None

    def should_start(self, lease_id: int) -> bool:
        """Whether this lease's holder must now start the model.

        For a holder that waits for another run to start it. True once that run is gone and the
        model was never seen hosted; of several waiting holders, only for the oldest live lease.
        """

        def work(change: Change) -> bool:
            change.lock_hostings()
            lease = _require_lease(change, lease_id)
            expire_leases(change, lease.hosting_id)
            hosting = require_hosting(change.conn, lease.hosting_id)
            oldest = change.conn.scalar(
                sa.select(sa.func.min(LeaseTable.id))
                .join(LeaseHeartbeatTable, LeaseHeartbeatTable.lease_id == LeaseTable.id)
                .where(LeaseTable.hosting_id == hosting.hosting_id)
            )
            return hosting.owned and hosting.status == "requested" and oldest == lease_id

        return commit(self._database, self._actor, "lease.checked", str(lease_id), work)

    def release(self, lease_id: int) -> bool:
        """End a lease; return whether the caller must stop the model now.

        Leases that the run acquired earlier end with it: a process that was lost before the run was
        resumed left them, and they would keep the model up. The last release of an owned hosting
        sets it to stop_requested. Repeated releases return the same until the hosting is marked
        stopped. Raises UnknownLease.
        """

        def work(change: Change) -> bool:
            change.lock_hostings()
            lease = _require_lease(change, lease_id)
            if lease.ended_at is None:
                update_tallies(change, lock_run(change.conn, lease.run_id))
                change.conn.execute(
                    sa.delete(LeaseHeartbeatTable).where(LeaseHeartbeatTable.lease_id == lease_id)
                )
                change.update("leases", lease_id, ended_at=change.now, end_reason="released")
                _end_earlier(change, lease_id, lease)
                expire_leases(change, lease.hosting_id)
                hosting = require_hosting(change.conn, lease.hosting_id)
                if hosting.live_leases == 0 and hosting.status in IN_USE:
                    close_hosting(change, hosting)
            hosting = require_hosting(change.conn, lease.hosting_id)
            return hosting.owned and hosting.status == "stop_requested"

        return commit(self._database, self._actor, "lease.released", str(lease_id), work)


def _revive(change: Change, run: int) -> None:
    """Mark a run as running again, because a run recorded as lost acquires a lease."""
    status = change.conn.scalar(sa.select(RunTable.status).where(RunTable.id == run))
    if status == "crashed":
        change.update("runs", run, status="running", message=None, finished_at=None)


def _end_earlier(change: Change, lease_id: int, lease: Row[int, str, datetime | None]) -> None:
    """End the leases on this hosting that the same run acquired before `lease_id`."""
    earlier = (
        sa.select(LeaseTable.id)
        .join(RunTable, RunTable.id == LeaseTable.run_id)
        .where(
            LeaseTable.hosting_id == lease.hosting_id,
            RunTable.run_id == lease.run_id,
            LeaseTable.id < lease_id,
        )
    )
    ended = sa.delete(LeaseHeartbeatTable).where(LeaseHeartbeatTable.lease_id.in_(earlier))
    for number in change.conn.scalars(ended.returning(LeaseHeartbeatTable.lease_id)).all():
        change.update("leases", number, ended_at=change.now, end_reason="expired")


def _open_hosting(change: Change, model_id: int) -> Hosting | None:
    found = select_hostings(
        change.conn, HostingTable.model_id == model_id, HostingTable.status.in_(OPEN)
    )
    return found[0] if found else None


def _require_lease(change: Change, lease_id: int) -> Row[int, str, datetime | None]:
    """Return the hosting, run_id and end of a lease. Raises UnknownLease."""
    row = change.conn.execute(
        sa.select(LeaseTable.hosting_id, RunTable.run_id, LeaseTable.ended_at)
        .join(RunTable, RunTable.id == LeaseTable.run_id)
        .where(LeaseTable.id == lease_id)
    ).one_or_none()
    if row is None:
        raise UnknownLease(f"no lease has id {lease_id}")
    return row
