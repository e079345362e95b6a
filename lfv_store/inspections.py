"""Inspections: plans a run's lines, records their outcomes and reads them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial

import sqlalchemy as sa

from lfv_store.audit.canonical import Cell
from lfv_store.audit.change import Change, commit
from lfv_store.database import Database
from lfv_store.inspection_writer import write_inspections
from lfv_store.records.inspections import KnownDetection, NewInspection, PendingItem
from lfv_store.records.object_claims import Claims
from lfv_store.records.runs import RunCounts
from lfv_store.repository import Repository
from lfv_store.row_mapping import line_cells, pending_item, record_from
from lfv_store.runs import lock_run, require_run
from lfv_store.tables import (
    DetectionTable,
    ImageTable,
    PendingItemTable,
    RunProgressTable,
    RunTable,
)
from lfv_store.tallies import current_counts, update_tallies
from lfv_store.watermarks import claim_objects

_COUNT_EVERY_SECONDS = 1.0


class Inspections(Repository):
    """`store.inspections`."""

    def __init__(self, database: Database, actor: str) -> None:
        super().__init__(database, actor)
        self._count_at = 0.0

    def known_detections(
        self, model_id: int, sha256s: Sequence[str], *, run_id: str | None = None
    ) -> dict[str, KnownDetection]:
        """Return a model's newest answers to some images, by SHA-256.

        With `run_id`, only answers that this run received (for a run that repeats every detection).
        """
        newest = (
            sa.select(sa.func.max(DetectionTable.id))
            .join(ImageTable, ImageTable.id == DetectionTable.image_id)
            .where(ImageTable.sha256.in_(sha256s), DetectionTable.model_id == model_id)
            .group_by(DetectionTable.image_id)
        )
        if run_id is not None:
            run = sa.select(RunTable.id).where(RunTable.run_id == run_id).scalar_subquery()
            newest = newest.where(DetectionTable.run_id == run)
        statement = (
            sa.select(
                DetectionTable.id.label("detection_id"),
                ImageTable.sha256.label("image_sha256"),
                DetectionTable.response,
            )
            .join(ImageTable, ImageTable.id == DetectionTable.image_id)
            .where(DetectionTable.id.in_(newest))
        )
        with self._database.read() as conn:
            rows = conn.execute(statement).mappings()
            return {row["image_sha256"]: record_from(KnownDetection, row) for row in rows}

    def count_known(self, model_id: int, sha256s: Sequence[str]) -> int:
        """Count the images that a model has answered, of those with these SHA-256 digests."""
        answered = (
            sa.select(sa.func.count(DetectionTable.image_id.distinct()))
            .join(ImageTable, ImageTable.id == DetectionTable.image_id)
            .where(ImageTable.sha256.in_(sha256s), DetectionTable.model_id == model_id)
        )
        with self._database.read() as conn:
            return conn.scalar(answered) or 0

    def plan(
        self,
        run_id: str,
        *,
        pending: Sequence[PendingItem] = (),
        done: Sequence[NewInspection] = (),
        through_line: int,
        claims: Claims | None = None,
    ) -> None:
        """Commit part of the manifest: items that wait for an answer, and finished inspections.

        Idempotent: a line that is already pending or recorded is left as it is. The run's
        `planned_through` moves to `through_line`, never back. An item whose bytes are already
        pending in this run is stored as a duplicate. With `claims`, lines whose object another run
        has claimed are left out. Raises UnknownRun, InvalidRecord.
        """

        def work(change: Change) -> None:
            run = lock_run(change.conn, run_id)
            mine, ask = done, pending
            if claims is not None:
                got = claim_objects(change, run, claims)
                mine = [inspection for inspection in done if inspection.line_number in got]
                ask = [item for item in pending if item.line_number in got]
            if mine:
                self._record(run_id, mine, change)
            _insert_pending(change, run, ask)
            change.conn.execute(
                sa.update(RunProgressTable)
                .where(
                    RunProgressTable.run_id == run,
                    RunProgressTable.planned_through < through_line,
                )
                .values(planned_through=through_line)
            )

        commit(self._database, self._actor, "inspections.recorded", run_id, work)

    def pending(
        self, run_id: str, *, duplicate: bool | None = False, after_line: int = 0, limit: int = 500
    ) -> list[PendingItem]:
        """Return the next pending items after `after_line`, by line number.

        `duplicate=False` returns items to send to the model, True those that wait for another
        line's answer, None all.
        """
        table = PendingItemTable.__table__
        conditions = [table.c.line_number > after_line]
        if duplicate is not None:
            conditions.append(table.c.duplicate == duplicate)
        with self._database.read() as conn:
            run = require_run(conn, run_id)
            rows = conn.execute(
                sa.select(table)
                .where(table.c.run_id == run, *conditions)
                .order_by(table.c.line_number)
                .limit(limit)
            ).mappings()
            return [pending_item(row) for row in rows]

    def record(self, run_id: str, inspections: Sequence[NewInspection]) -> int:
        """Store a batch of detections, anomalies and inspections with its audit entry, atomically.

        Returns the number of inspections that were not recorded before.

        Idempotent, even if two processes record the same batch at once: a line keeps its first
        record. Raises UnknownRun, InvalidRecord, or UnknownRecord for a detection id.
        """

        work = partial(self._record, run_id, inspections)
        return commit(
            self._database, self._actor, "inspections.recorded", run_id, work, begin=False
        )

    def _record(self, run_id: str, inspections: Sequence[NewInspection], change: Change) -> int:
        run, recorded = write_inspections(change, run_id, inspections)
        lines = [item.line_number for item in inspections]
        change.delete("pending_items", "line_number", lines, run_id=run)
        if recorded and time.monotonic() >= self._count_at:
            update_tallies(change, run)
            self._count_at = time.monotonic() + _COUNT_EVERY_SECONDS
        return recorded

    def counts(self, run_id: str) -> RunCounts:
        """Count a run's lines by reviews and its current decision. Raises UnknownRun."""
        with self._database.read() as conn:
            run = require_run(conn, run_id)
            counts = current_counts(conn, run)
            pending = conn.scalar(
                sa.select(sa.func.count())
                .select_from(PendingItemTable)
                .where(PendingItemTable.run_id == run)
            )
        waiting = int(pending or 0)
        outcomes = {name: counts[name] for name in ("accepted", "rejected", "review", "errors")}
        return RunCounts(
            total=sum(outcomes.values()) + waiting,
            reused=counts["reused"],
            pending=waiting,
            **outcomes,
        )


def _insert_pending(change: Change, run: int, items: Sequence[PendingItem]) -> None:
    lines = [item.line_number for item in items]
    known: set[int] = set()
    for table in ("inspections", "pending_items"):
        found = change.dialect.select_in(
            change.conn, table, ("line_number",), "line_number", lines, run_id=run
        )
        known.update(line for (line,) in found)
    digests = list({item.image.sha256 for item in items})
    seen = {
        digest
        for (digest,) in change.dialect.select_in(
            change.conn,
            "pending_items",
            ("image_sha256",),
            "image_sha256",
            digests,
            where="NOT duplicate",  # at most one row for each image
            index="ix_pending_items_first",
            run_id=run,
        )
    }
    rows: list[dict[str, Cell]] = []
    for item in items:
        if item.line_number in known:
            continue
        known.add(item.line_number)
        duplicate = item.duplicate or item.image.sha256 in seen
        seen.add(item.image.sha256)
        rows.append(
            {
                "run_id": run,
                **line_cells(item),
                "duplicate": int(duplicate),
                "image_sha256": item.image.sha256,
                "image_format": item.image.format,
                "image_width": item.image.width,
                "image_height": item.image.height,
                "image_size_bytes": item.image.size_bytes,
            }
        )
    if rows:
        cells = [tuple(row.values()) for row in rows]
        change.dialect.insert(change.conn, "pending_items", tuple(rows[0]), cells)
