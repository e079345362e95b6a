"""Tallies and hosting usage: counts behind the summary views, brought up to date now and then.

A run's inspections with ids up to `run_progress.counted_through` are counted. A run is counted once
a second while it records, and when it ends, changes its hosting, gets a review or a new decision. A
crash loses nothing: whoever continues or closes the run counts on from the same mark.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.orm import aliased

from lfv_store.audit.change import Change
from lfv_store.dialects import Dialect, dialect_of
from lfv_store.tables import (
    DetectionTable,
    HostingUsageTable,
    InspectionTable,
    LeaseTable,
    ReviewTable,
    RunProgressTable,
    RunTable,
    TallyTable,
    VerdictTable,
)

_COUNTS = (
    "accepted",
    "rejected",
    "review",
    "errors",
    "reused",
    "asked",
    "parts_accepted",
    "parts_rejected",
    "parts_review",
)


@dataclass(frozen=True, slots=True)
class DayCounts:
    """What some inspections of one UTC day add to the tallies and the usage of a run."""

    day: date
    counts: dict[str, int]
    newest: int
    first_answer_at: datetime | None
    last_answer_at: datetime | None


def count_run(unit: Change, run: int) -> None:
    """Bring the tallies and the hosting usage of a run up to date. Its row is locked."""
    mark = _mark(unit.conn, run)
    days = _count(unit.conn, **_behind(run, mark))
    if not days:
        return
    for day in days:
        _add(unit.conn, run, day, sign=1)
    unit.conn.execute(
        sa.update(RunProgressTable)
        .where(RunProgressTable.run_id == run)
        .values(counted_through=max(day.newest for day in days))
    )
    _add_usage(unit, run, days)


def recount_run(unit: Change, run: int) -> None:
    """Count all inspections of a run again, by its now current decision. Its row is locked."""
    count_run(unit, run)
    unit.conn.execute(sa.delete(TallyTable).where(TallyTable.run_id == run))
    for day in _count(unit.conn, run=run):
        _add(unit.conn, run, day, sign=1)


def take_out(unit: Change, run: int, inspection_id: int) -> None:
    """Take a counted inspection out of the tallies, before its outcome changes."""
    for day in _count(unit.conn, inspection=inspection_id):
        _add(unit.conn, run, day, sign=-1)


def put_back(unit: Change, run: int, inspection_id: int) -> None:
    """Count an inspection again, after its outcome has changed."""
    for day in _count(unit.conn, inspection=inspection_id):
        _add(unit.conn, run, day, sign=1)


def current_counts(conn: Connection, run: int) -> dict[str, int]:
    """The counts of a run by name, those not in its tallies yet included.

    A run that is over is in its tallies as a whole. Behind its mark are those of all later runs.
    """
    table = TallyTable.__table__
    row = conn.execute(
        sa.select(*(sa.func.coalesce(sa.func.sum(table.c[name]), 0) for name in _COUNTS)).where(
            table.c.run_id == run
        )
    ).one()
    totals = {name: int(value) for name, value in zip(_COUNTS, row, strict=True)}
    if conn.scalar(sa.select(RunTable.status).where(RunTable.id == run)) != "running":
        return totals
    for day in _count(conn, **_behind(run, _mark(conn, run))):
        for name, number in day.counts.items():
            totals[name] += number
    return totals


def _mark(conn: Connection, run: int) -> int:
    mark = conn.scalar(
        sa.select(RunProgressTable.counted_through).where(RunProgressTable.run_id == run)
    )
    return int(mark or 0)


def _behind(run: int, mark: int) -> dict[str, int]:
    """What is to be counted: the inspections of a run behind a mark."""
    return {"run": run, "mark": mark} if mark else {"run": run}


def _count(conn: Connection, **wanted: int) -> list[DayCounts]:
    """Count inspections by UTC day, with the outcome that stands now.

    `wanted` is `run`, `run` and `mark` (an inspection id), or `inspection`.
    """
    statement = _counting(dialect_of(conn), frozenset(wanted))
    return [
        DayCounts(
            day=row["day"],
            counts={name: row[name] for name in _COUNTS},
            newest=row["newest"],
            first_answer_at=row["first_answer_at"],
            last_answer_at=row["last_answer_at"],
        )
        for row in conn.execute(statement, wanted).mappings()
    ]


def _condition(wanted: frozenset[str]) -> sa.ColumnElement[bool]:
    if "inspection" in wanted:
        return InspectionTable.id == sa.bindparam("inspection")
    if "mark" not in wanted:
        return InspectionTable.run_id == sa.bindparam("run")
    # An expression, so that the ids behind the mark are read, and not all lines of the run.
    return sa.and_(
        InspectionTable.id > sa.bindparam("mark"),
        InspectionTable.run_id + 0 == sa.bindparam("run"),
    )


@cache
def _counting(dialect: Dialect, wanted: frozenset[str]) -> sa.Select[Any]:
    """The statement of _count(), made once: making it takes longer than running it."""
    earlier = aliased(DetectionTable)
    review = (
        sa.select(ReviewTable.verdict)
        .where(ReviewTable.inspection_id == InspectionTable.id)
        .order_by(ReviewTable.id.desc())
        .limit(1)
        .scalar_subquery()
    )
    judged_before = sa.exists().where(
        earlier.image_id == DetectionTable.image_id,
        earlier.model_id == DetectionTable.model_id,
        earlier.id < DetectionTable.id,
    )
    asked = sa.and_(InspectionTable.detection_id.is_not(None), ~InspectionTable.reused)
    outcome_now = sa.func.coalesce(review, VerdictTable.verdict, InspectionTable.verdict)
    lines = (
        sa.select(
            sa.literal_column(dialect.day("inspections.inspected_at"), sa.Date).label("day"),
            InspectionTable.id,
            outcome_now.label("outcome"),
            InspectionTable.reused,
            asked.label("asked"),
            sa.and_(asked, ~judged_before).label("part"),
            sa.case((asked, DetectionTable.detected_at)).label("answered_at"),
        )
        .join(RunTable, RunTable.id == InspectionTable.run_id)
        .outerjoin(DetectionTable, DetectionTable.id == InspectionTable.detection_id)
        .outerjoin(
            VerdictTable,
            sa.and_(
                VerdictTable.inspection_id == InspectionTable.id,
                VerdictTable.decision_id == RunTable.later_decision_id,
            ),
        )
        .where(_condition(wanted))
        .subquery()
    )

    def number(*conditions: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
        return sa.func.count(sa.case((sa.and_(*conditions), 1)))

    outcome, part = lines.c.outcome, lines.c.part
    counted: sa.Select[Any] = sa.select(
        lines.c.day,
        number(outcome == "accept").label("accepted"),
        number(outcome == "reject").label("rejected"),
        number(outcome == "review").label("review"),
        number(outcome.is_(None)).label("errors"),
        number(lines.c.reused).label("reused"),
        number(lines.c.asked).label("asked"),
        number(outcome == "accept", part).label("parts_accepted"),
        number(outcome == "reject", part).label("parts_rejected"),
        number(outcome == "review", part).label("parts_review"),
        sa.func.max(lines.c.id).label("newest"),
        sa.func.min(lines.c.answered_at).label("first_answer_at"),
        sa.func.max(lines.c.answered_at).label("last_answer_at"),
    ).group_by(lines.c.day)
    return counted


def _add(conn: Connection, run: int, day: DayCounts, *, sign: int) -> None:
    table = TallyTable.__table__
    values: dict[str, Any] = {
        name: table.c[name] + sign * number for name, number in day.counts.items() if number
    }
    updated = conn.execute(
        sa.update(TallyTable)
        .where(TallyTable.run_id == run, TallyTable.day == day.day)
        .values(values or {"run_id": run})
    )
    if updated.rowcount == 0:
        conn.execute(sa.insert(TallyTable).values(run_id=run, day=day.day, **day.counts))


def _add_usage(unit: Change, run: int, days: Sequence[DayCounts]) -> None:
    """Count new answers for the hosting that the run is on, if it holds or held a lease."""
    answers = sum(day.counts["asked"] for day in days)
    if not answers:
        return
    hosting = unit.conn.scalar(
        sa.select(LeaseTable.hosting_id)
        .where(LeaseTable.run_id == run)
        .order_by(LeaseTable.id.desc())
        .limit(1)
    )
    if hosting is None:
        return
    first = min(day.first_answer_at for day in days if day.first_answer_at is not None)
    last = max(day.last_answer_at for day in days if day.last_answer_at is not None)
    usage = unit.conn.execute(
        sa.select(
            HostingUsageTable.id,
            HostingUsageTable.images,
            HostingUsageTable.first_answer_at,
            HostingUsageTable.last_answer_at,
        ).where(HostingUsageTable.run_id == run, HostingUsageTable.hosting_id == hosting)
    ).one_or_none()
    if usage is None:
        unit.insert(
            "hosting_usage",
            hosting_id=hosting,
            run_id=run,
            images=answers,
            first_answer_at=first,
            last_answer_at=last,
        )
        return
    unit.update(
        "hosting_usage",
        usage.id,
        images=usage.images + answers,
        first_answer_at=min(usage.first_answer_at, first),
        last_answer_at=max(usage.last_answer_at, last),
    )
