"""Watermarks: which objects of a source were inspected, and which run claims the new ones.

An object's content (source, key, SHA-256) belongs to one line of one run, claimed in the
transaction that plans the line. Another run can claim it only after that line is recorded with an
error that another attempt may resolve, or as not reached by its run. `take_over` writes such
records for runs that are gone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from itertools import islice

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from lfv_store.audit.change import Change, commit
from lfv_store.clean_text import clean
from lfv_store.errors import InvalidRecord
from lfv_store.inspection_writer import write_inspections
from lfv_store.records.object_claims import Claims, KnownObjects, ObjectClaim, ObjectStamp, Retries
from lfv_store.repository import Repository
from lfv_store.row_mapping import pending_item
from lfv_store.runs import lock_run, require_run
from lfv_store.tables import (
    InspectionTable,
    PendingItemTable,
    RunTable,
    WatermarkObjectTable,
    WatermarkRunTable,
    WatermarkSourceTable,
)
from lfv_store.tallies import update_tallies

_CLOSED_TOGETHER = 1000
_ASKED_TOGETHER = 500
_objects = WatermarkObjectTable.__table__
_runs = WatermarkRunTable.__table__


class Watermarks(Repository):
    """`store.watermarks`."""

    def begin(self, run_id: str, ttl: timedelta) -> int:
        """Register a run for new images of its source, and return the source's id.

        The run keeps its objects until `ttl` is over, or for as long as `renew` is called.
        """

        def work(change: Change) -> int:
            run = lock_run(change.conn, run_id)
            source = _source(change, run)
            _expire(change.conn, run, source, change.now + ttl)
            return source

        return commit(self._database, self._actor, "watermarks.begun", run_id, work)

    def source_of(self, run_id: str) -> int:
        """Return the id of a registered run's source. Raises UnknownRun, InvalidRecord."""
        with self._database.read() as conn:
            source = conn.scalar(
                sa.select(_runs.c.source_id).where(_runs.c.run_id == require_run(conn, run_id))
            )
        if source is None:
            raise InvalidRecord("begin() was not called for this run")
        return int(source)

    def renew(self, run_id: str, ttl: timedelta) -> None:
        """Report that a run is alive."""
        with self._database.write() as conn:
            run = require_run(conn, run_id)
            now = self._database.dialect.now(conn)
            conn.execute(
                sa.update(WatermarkRunTable)
                .where(_runs.c.run_id == run)
                .values(expires_at=now + ttl)
            )

    def release(self, run_id: str) -> None:
        """Release a run's objects, so that later runs take those without a record."""

        def work(change: Change) -> None:
            run = lock_run(change.conn, run_id)
            if _has_pending(change.conn, run):
                change.conn.execute(
                    sa.update(WatermarkRunTable)
                    .where(_runs.c.run_id == run)
                    .values(expires_at=change.now)
                )
            else:
                change.conn.execute(sa.delete(WatermarkRunTable).where(_runs.c.run_id == run))

        commit(self._database, self._actor, "watermarks.released", run_id, work)

    def take_over(self, run_id: str, code: str, message: str) -> int:
        """Record an error for the unfinished lines of runs that are gone, at this run's source.

        Their objects become new again. Returns the number of lines.
        """
        with self._database.read() as conn:
            source = conn.scalar(
                sa.select(_runs.c.source_id).where(_runs.c.run_id == require_run(conn, run_id))
            )
            now = self._database.dialect.now(conn)
            gone = conn.scalars(
                sa.select(RunTable.run_id)
                .join(_runs, _runs.c.run_id == RunTable.id)
                .where(
                    _runs.c.source_id == source,
                    _runs.c.expires_at <= now,
                    RunTable.run_id != run_id,
                )
            ).all()
        closed = 0
        for other in gone:
            while lines := self._close(other, code, message):
                closed += lines
        return closed

    def unchanged(
        self, source_id: int, objects: Mapping[str, ObjectStamp], retries: Retries
    ) -> set[str]:
        """Return the keys of objects whose stamps are unchanged since a run claimed them."""
        keys = {clean(key): key for key in objects}
        with self._database.read() as conn:
            rows = _known(conn, source_id, list(keys))
        return {
            keys[row.object_key]
            for row in rows
            if ObjectStamp(row.size_bytes, row.stamp) == objects[keys[row.object_key]]
            and _is_taken(row, retries)
        }

    def known(
        self, run_id: str, objects: Mapping[str, ObjectStamp], retries: Retries
    ) -> KnownObjects:
        """Return which of these objects need no further run, without claiming any.

        The source is that of a run on new images, which may have ended. Objects of a run that is
        gone are in neither set, because the next run takes them over. Raises UnknownRun.
        """
        keys = {clean(key): key for key in objects}
        recorded, in_progress = set(), set()
        with self._database.read() as conn:
            source = conn.scalar(_source_like(require_run(conn, run_id)))
            if source is None:
                return KnownObjects(frozenset(), frozenset())
            mine = _runs.c.source_id == source
            live = _runs.c.expires_at > self._database.dialect.now(conn)
            alive = set(conn.scalars(sa.select(_runs.c.run_id).where(mine, live)))
            wanted = iter(keys)
            while batch := list(islice(wanted, _ASKED_TOGETHER)):
                for row in _known(conn, source, batch):
                    key = keys[row.object_key]
                    if ObjectStamp(row.size_bytes, row.stamp) != objects[key]:
                        continue
                    if row.inspection is None:
                        if row.run_id in alive:
                            in_progress.add(key)
                    elif _is_taken(row, retries):
                        recorded.add(key)
        return KnownObjects(frozenset(recorded), frozenset(in_progress))

    def has_objects(self, source_id: int) -> bool:
        """Whether any run has claimed an object of this source."""
        wanted = sa.select(_objects.c.object_key).where(_objects.c.source_id == source_id).limit(1)
        with self._database.read() as conn:
            return conn.scalar(wanted) is not None

    def digest(self, run_id: str) -> str:
        """Return the SHA-256, in hex, over `LINE KEY SHA256` and a line feed for each object."""
        digest = hashlib.sha256()
        with self._database.read() as conn:
            run = require_run(conn, run_id)
            rows = conn.execute(
                sa.select(_objects.c.line_number, _objects.c.object_key, _objects.c.sha256)
                .where(_objects.c.run_id == run)
                .order_by(_objects.c.line_number)
            )
            for row in rows:
                digest.update(f"{row.line_number} {row.object_key} {row.sha256}\n".encode())
        return digest.hexdigest()

    def _close(self, run_id: str, code: str, message: str) -> int:
        """Record some of a run's pending lines as errors, unless the run is alive again."""

        def work(change: Change) -> int:
            run = lock_run(change.conn, run_id)
            expires = change.conn.scalar(sa.select(_runs.c.expires_at).where(_runs.c.run_id == run))
            if expires is None or expires > change.now:
                return 0
            pending = PendingItemTable.__table__
            rows = change.conn.execute(
                sa.select(pending)
                .where(pending.c.run_id == run)
                .order_by(pending.c.line_number)
                .limit(_CLOSED_TOGETHER)
            ).mappings()
            items = [pending_item(row) for row in rows]
            if not items:
                change.conn.execute(sa.delete(WatermarkRunTable).where(_runs.c.run_id == run))
                return 0
            failure = {"error_code": code, "error_message": message, "attempts": 0}
            ended = [item.inspected(change.now, **failure) for item in items]
            write_inspections(change, run_id, ended)
            lines = [item.line_number for item in items]
            change.delete("pending_items", "line_number", lines, run_id=run)
            update_tallies(change, run)
            return len(items)

        return commit(self._database, self._actor, "inspections.recorded", run_id, work)


def claim_objects(change: Change, run: int, claims: Claims) -> set[int]:
    """Claim objects for lines of a locked run, and return the lines whose claim succeeded.

    One run at a time claims objects of a source. Raises InvalidRecord without `begin`.
    """
    source = change.conn.scalar(sa.select(_runs.c.source_id).where(_runs.c.run_id == run))
    if source is None:
        raise InvalidRecord("objects are claimed by runs that begin() was called for")
    change.conn.execute(
        sa.select(WatermarkSourceTable.id)
        .where(WatermarkSourceTable.id == source)
        .with_for_update(key_share=True)
    ).one()
    keys = [clean(claim.object_key) for claim in claims.objects]
    known = {(row.object_key, row.sha256): row for row in _known(change.conn, source, keys)}
    got: set[int] = set()
    fresh: dict[tuple[str, str], ObjectClaim] = {}
    for key, claim in zip(keys, claims.objects, strict=True):
        row = known.get((key, claim.sha256))
        if row is None:
            fresh[key, claim.sha256] = claim
            got.add(claim.line_number)
            continue
        same = (row.run_id, row.line_number) == (run, claim.line_number)
        values: dict[str, object] = {"size_bytes": claim.seen.size_bytes, "stamp": claim.seen.stamp}
        as_before = ObjectStamp(row.size_bytes, row.stamp) == claim.seen
        taken = _is_taken(row, claims.retries) and (claim.sha256 != "" or as_before)
        if same or not taken:
            got.add(claim.line_number)
        if not same and not taken:
            failed = as_before and row.error_code in claims.retries.mendable
            values |= {
                "run_id": run,
                "line_number": claim.line_number,
                "attempts": row.attempts + 1 if failed else row.attempts,
                "claimed_at": change.now,
            }
        change.conn.execute(
            sa.update(WatermarkObjectTable)
            .where(
                _objects.c.source_id == source,
                _objects.c.object_key == key,
                _objects.c.sha256 == claim.sha256,
            )
            .values(**values)
        )
    if fresh:
        change.conn.execute(
            sa.insert(WatermarkObjectTable),
            [
                {
                    "source_id": source,
                    "object_key": key,
                    "sha256": sha256,
                    "size_bytes": claim.seen.size_bytes,
                    "stamp": claim.seen.stamp,
                    "run_id": run,
                    "line_number": claim.line_number,
                    "attempts": 0,
                    "claimed_at": change.now,
                }
                for (key, sha256), claim in fresh.items()
            ],
        )
    return got


def _known(conn: Connection, source: int, keys: Iterable[str]) -> list[Row[tuple[object, ...]]]:
    """Return the stored objects with these keys, each with the record of its line."""
    return list(
        conn.execute(
            sa.select(
                _objects,
                InspectionTable.id.label("inspection"),
                InspectionTable.error_code,
            )
            .outerjoin(
                InspectionTable,
                sa.and_(
                    InspectionTable.run_id == _objects.c.run_id,
                    InspectionTable.line_number == _objects.c.line_number,
                ),
            )
            .where(_objects.c.source_id == source, _objects.c.object_key.in_(list(keys)))
        )
    )


def _is_taken(row: Row[tuple[object, ...]], retries: Retries) -> bool:
    """Whether an object has a final record, or a live run that will make one."""
    if row.inspection is None or row.error_code is None:
        return True
    if row.error_code in retries.unasked:
        return False
    return row.error_code not in retries.mendable or row.attempts + 1 >= retries.attempts


def _source_like(run: int) -> sa.Select[int]:
    """Select the id of the source that a run has, if any run on new images had it."""
    table = WatermarkSourceTable
    return sa.select(table.id).join(
        RunTable,
        sa.and_(
            RunTable.id == run,
            table.source == RunTable.source,
            table.host == RunTable.host,
            table.project_name == RunTable.project_name,
        ),
    )


def _source(change: Change, run: int) -> int:
    """Return the id of a run's source, storing it if new."""
    found = change.conn.execute(
        sa.select(RunTable.source, RunTable.host, RunTable.project_name).where(RunTable.id == run)
    ).one()
    table = WatermarkSourceTable
    change.lock_chain()
    known = change.conn.scalar(_source_like(run))
    if known is not None:
        return int(known)
    new = int(change.conn.scalar(sa.select(sa.func.max(table.id))) or 0) + 1
    change.conn.execute(
        sa.insert(table).values(
            id=new, source=found.source, host=found.host, project_name=found.project_name
        )
    )
    return new


def _expire(conn: Connection, run: int, source: int, at: datetime) -> None:
    mine = _runs.c.run_id == run
    if not conn.execute(sa.update(WatermarkRunTable).where(mine).values(expires_at=at)).rowcount:
        conn.execute(
            sa.insert(WatermarkRunTable).values(run_id=run, source_id=source, expires_at=at)
        )


def _has_pending(conn: Connection, run: int) -> bool:
    wanted = sa.select(PendingItemTable.line_number).where(PendingItemTable.run_id == run).limit(1)
    return conn.scalar(wanted) is not None
