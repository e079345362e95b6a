"""Inspections: planning a run's lines, recording their outcomes, reading them again."""

# ruff: noqa: S608 -- names in SQL text are constants of this package, values are parameters

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from lfv_store.audit.change import Change, commit
from lfv_store.bulk import delete_where_in, insert_rows, select_where_in
from lfv_store.database import Database
from lfv_store.recording import write_inspections
from lfv_store.records import (
    ImageFacts,
    KnownDetection,
    NewInspection,
    PendingItem,
    RecordCounts,
    RunCounts,
)
from lfv_store.runs import lock_run, require_run
from lfv_store.tables import (
    DetectionTable,
    ImageTable,
    MaskTable,
    PendingItemTable,
    RunProgressTable,
    RunTable,
    TallyTable,
)
from lfv_store.text import clean, clean_or_none, json_text

_PENDING_COLUMNS = (
    "run_id",
    "line_number",
    "duplicate",
    "source_ref",
    "image_sha256",
    "image_format",
    "image_width",
    "image_height",
    "image_size_bytes",
    "attributes",
    "expected_is_anomalous",
    "expected_mask_ref",
)


class Inspections:
    """`store.inspections`."""

    def __init__(self, database: Database, actor: str) -> None:
        self._database = database
        self._actor = actor

    def known_detections(
        self, model_id: int, sha256s: Sequence[str], *, run_id: str | None = None
    ) -> dict[str, KnownDetection]:
        """What this model has already said about some images, by SHA-256: its newest answers.

        With `run_id`, only answers that this run itself got (for a run that asks everything again).
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
            sa.select(*DetectionTable.__table__.c, ImageTable.sha256, MaskTable.png)
            .join(ImageTable, ImageTable.id == DetectionTable.image_id)
            .outerjoin(MaskTable, MaskTable.detection_id == DetectionTable.id)
            .where(DetectionTable.id.in_(newest))
        )
        with self._database.read() as conn:
            return {
                row.sha256: KnownDetection(
                    detection_id=row.id,
                    model_id=row.model_id,
                    image_sha256=row.sha256,
                    response=row.response,
                    mask_png=row.png,
                    request_id=row.request_id,
                    latency_ms=row.latency_ms,
                    detected_at=row.detected_at,
                )
                for row in conn.execute(statement)
            }

    def plan(
        self,
        run_id: str,
        *,
        pending: Sequence[PendingItem] = (),
        done: Sequence[NewInspection] = (),
        through_line: int,
    ) -> RecordCounts:
        """Commit a stretch of the manifest: what is to be asked, and what needs no asking.

        Idempotent: a line that is pending or recorded already stays as it is. The run's
        `planned_through` moves to `through_line`, never back. A pending item whose bytes are
        pending already in this run is stored as a duplicate. Raises UnknownRun, InvalidRecord.
        """

        def work(unit: Change) -> RecordCounts:
            run = lock_run(unit.conn, run_id)
            counts = write_inspections(unit, run, done)
            _forget_pending(unit, run, done)
            _insert_pending(unit.conn, run, pending)
            unit.conn.execute(
                sa.update(RunProgressTable)
                .where(
                    RunProgressTable.run_id == run,
                    RunProgressTable.planned_through < through_line,
                )
                .values(planned_through=through_line)
            )
            return counts

        return commit(self._database, self._actor, "inspections.recorded", run_id, work)

    def pending(
        self, run_id: str, *, duplicate: bool | None = False, after_line: int = 0, limit: int = 500
    ) -> list[PendingItem]:
        """The next pending items behind `after_line`, by line number.

        `duplicate=False`: those to ask about; True: those that wait for another line's answer;
        None: all.
        """
        table = PendingItemTable.__table__
        conditions = [table.c.line_number > after_line]
        if duplicate is not None:
            conditions.append(table.c.duplicate == duplicate)
        with self._database.read() as conn:
            run = require_run(conn, run_id)
            rows = conn.execute(
                sa.select(*table.c)
                .where(table.c.run_id == run, *conditions)
                .order_by(table.c.line_number)
                .limit(limit)
            ).all()
        return [_pending_item(row) for row in rows]

    def record(self, run_id: str, inspections: Sequence[NewInspection]) -> RecordCounts:
        """Store a batch: detections, anomalies, inspections and the audit entry, all or nothing.

        Idempotent, also when two processes record the same batch at once: a line keeps the first
        record it got. Raises UnknownRun, UnknownRecord (a detection id), InvalidRecord.
        """

        def work(unit: Change) -> RecordCounts:
            run = lock_run(unit.conn, run_id)
            counts = write_inspections(unit, run, inspections)
            _forget_pending(unit, run, inspections)
            return counts

        return commit(self._database, self._actor, "inspections.recorded", run_id, work)

    def counts(self, run_id: str) -> RunCounts:
        """How the lines of a run stand, by its current decision. Raises UnknownRun."""
        tally = TallyTable.__table__
        names = ("accepted", "rejected", "review", "errors", "reused")
        with self._database.read() as conn:
            run = require_run(conn, run_id)
            row = conn.execute(
                sa.select(
                    *(sa.func.coalesce(sa.func.sum(tally.c[name]), 0) for name in names)
                ).where(tally.c.run_id == run)
            ).one()
            pending = conn.scalar(
                sa.select(sa.func.count())
                .select_from(PendingItemTable)
                .where(PendingItemTable.run_id == run)
            )
        accepted, rejected, review, errors, reused = (int(value) for value in row)
        waiting = int(pending or 0)
        return RunCounts(
            total=accepted + rejected + review + errors + waiting,
            accepted=accepted,
            rejected=rejected,
            review=review,
            errors=errors,
            reused=reused,
            pending=waiting,
        )


def _forget_pending(unit: Change, run: int, inspections: Sequence[NewInspection]) -> None:
    delete_where_in(
        unit.conn,
        f"DELETE FROM pending_items WHERE run_id = {run:d} AND",
        "line_number",
        [item.line_number for item in inspections],
    )


def _insert_pending(conn: Connection, run: int, items: Sequence[PendingItem]) -> None:
    lines = [item.line_number for item in items]
    known: set[int] = set()
    for table in ("inspections", "pending_items"):
        found = select_where_in(
            conn,
            f"SELECT line_number FROM {table} WHERE run_id = {run:d} AND",
            "line_number",
            lines,
        )
        known.update(row[0] for row in found)
    seen = {
        row[0]
        for row in select_where_in(
            conn,
            f"SELECT image_sha256 FROM pending_items WHERE run_id = {run:d} AND",
            "image_sha256",
            [item.image.sha256 for item in items],
        )
    }
    rows = []
    for item in items:
        if item.line_number in known:
            continue
        known.add(item.line_number)
        duplicate = item.duplicate or item.image.sha256 in seen
        seen.add(item.image.sha256)
        rows.append(
            (
                run,
                item.line_number,
                int(duplicate),
                clean(item.source_ref),
                item.image.sha256,
                item.image.format,
                item.image.width,
                item.image.height,
                item.image.size_bytes,
                json_text(item.attributes),
                None if item.expected_is_anomalous is None else int(item.expected_is_anomalous),
                clean_or_none(item.expected_mask_ref),
            )
        )
    if rows:
        insert_rows(conn, "pending_items", _PENDING_COLUMNS, rows)


def _pending_item(row: Any) -> PendingItem:
    return PendingItem(
        line_number=row.line_number,
        source_ref=row.source_ref,
        image=ImageFacts(
            sha256=row.image_sha256,
            format=row.image_format,
            width=row.image_width,
            height=row.image_height,
            size_bytes=row.image_size_bytes,
        ),
        attributes=row.attributes,
        expected_is_anomalous=row.expected_is_anomalous,
        expected_mask_ref=row.expected_mask_ref,
        duplicate=row.duplicate,
    )
