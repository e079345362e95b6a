"""Tallies and hosting usage: the counts behind views and charts.

They include a run's inspections with ids up to `run_progress.counted_through`. They are
updated once a second while the run stores results, and when it finishes, changes its
hosting, or gets a review or a new decision. A crash loses nothing, because the next process
continues counting from that mark.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.orm import aliased

from lfv_store.answer_tallies import (
    AnswerKey,
    add_anomalies,
    add_answers,
    count_anomalies,
    stored_anomalies,
    stored_answers,
)
from lfv_store.audit.change import Change
from lfv_store.dialects import Dialect, dialect_of
from lfv_store.tables import (
    AnswerTallyTable,
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
_VERDICT_BY_COUNT = {"accepted": "accept", "rejected": "reject", "review": "review"}


def joins_later_verdict() -> sa.ColumnElement[bool]:
    """Return the condition that joins an inspection to the verdict of `lfv decide`, if any."""
    return sa.and_(
        VerdictTable.inspection_id == InspectionTable.id,
        VerdictTable.decision_id == RunTable.later_decision_id,
    )


def current_verdict() -> sa.ColumnElement[str | None]:
    """Return the current verdict; needs `VerdictTable` joined by `joins_later_verdict`."""
    return sa.func.coalesce(VerdictTable.verdict, InspectionTable.verdict)


@dataclass(slots=True)
class InspectionCounts:
    """What a set of inspections adds to a run's tallies and usage."""

    days: dict[date, Counter[str]] = field(default_factory=dict)
    answers: Counter[AnswerKey] = field(default_factory=Counter)
    newest: int = 0
    first_answer_at: datetime | None = None
    last_answer_at: datetime | None = None


def update_tallies(change: Change, run: int) -> None:
    """Bring the tallies and hosting usage of a run, whose row is locked, up to date."""
    beyond = _beyond_mark(run, _mark(change.conn, run))
    counted = _count_inspections(change.conn, **beyond)
    if not counted.days:
        return
    _add(change.conn, run, counted, sign=1)
    add_anomalies(
        change.conn, run, count_anomalies(change.conn, _condition(frozenset(beyond)), beyond)
    )
    change.conn.execute(
        sa.update(RunProgressTable)
        .where(RunProgressTable.run_id == run)
        .values(counted_through=counted.newest)
    )
    _add_usage(change, run, counted)


def recount_tallies(change: Change, run: int) -> None:
    """Recount all inspections of a run, whose row is locked, by its current decision."""
    update_tallies(change, run)  # sets the mark; the tallies are replaced below
    for table in (TallyTable, AnswerTallyTable):
        change.conn.execute(sa.delete(table).where(table.run_id == run))
    _add(change.conn, run, _count_inspections(change.conn, run=run), sign=1)


def take_out(change: Change, run: int, inspection_id: int) -> None:
    """Take a counted inspection out of the tallies, before its outcome changes."""
    _add(change.conn, run, _count_inspections(change.conn, inspection=inspection_id), sign=-1)


def put_back(change: Change, run: int, inspection_id: int) -> None:
    """Count an inspection again, after its outcome has changed."""
    _add(change.conn, run, _count_inspections(change.conn, inspection=inspection_id), sign=1)


def current_counts(conn: Connection, run: int) -> dict[str, int]:
    """Return the counts of a run by name, including inspections that are not tallied yet.

    A finished run is tallied completely: inspections with ids beyond its mark belong to later runs.
    """
    table = TallyTable.__table__
    row = conn.execute(
        sa.select(*(sa.func.coalesce(sa.func.sum(table.c[name]), 0) for name in _COUNTS)).where(
            table.c.run_id == run
        )
    ).one()
    totals = {name: int(value) for name, value in zip(_COUNTS, row, strict=True)}
    for day in _count_beyond_mark(conn, run).days.values():
        for name, number in day.items():
            totals[name] += number
    return totals


def current_reviews(conn: Connection, run: int | None = None) -> int:
    """Count inspections that are currently `review`, of one run or of all.

    Adds up the tallies, and what running runs have not tallied yet."""
    counted = sa.select(sa.func.coalesce(sa.func.sum(TallyTable.review), 0))
    running = sa.select(RunTable.id).where(RunTable.status == "running")
    if run is not None:
        counted = counted.where(TallyTable.run_id == run)
        running = running.where(RunTable.id == run)
    total = int(conn.scalar(counted) or 0)
    for one in conn.scalars(running).all():
        days = _count_inspections(conn, **_beyond_mark(one, _mark(conn, one))).days
        total += sum(day["review"] for day in days.values())
    return total


def current_answers(conn: Connection, run: int) -> Counter[AnswerKey]:
    """Return the answers of a run, including those that are not tallied yet."""
    return stored_answers(conn, run) + _count_beyond_mark(conn, run).answers


def current_anomalies(conn: Connection, run: int) -> dict[str, tuple[int, str | None]]:
    """Return the number of images and the colour of each anomaly type of a run.

    Includes images that are not tallied yet."""
    found = stored_anomalies(conn, run)
    if _is_running(conn, run):
        beyond = _beyond_mark(run, _mark(conn, run))
        for name, images, color in count_anomalies(conn, _condition(frozenset(beyond)), beyond):
            before, known = found.get(name, (0, None))
            found[name] = (before + images, known or color)
    return found


def _count_beyond_mark(conn: Connection, run: int) -> InspectionCounts:
    """Count what lies beyond the mark of an unfinished run."""
    if not _is_running(conn, run):
        return InspectionCounts()
    return _count_inspections(conn, **_beyond_mark(run, _mark(conn, run)))


def _is_running(conn: Connection, run: int) -> bool:
    return conn.scalar(sa.select(RunTable.status).where(RunTable.id == run)) == "running"


def _mark(conn: Connection, run: int) -> int:
    mark = conn.scalar(
        sa.select(RunProgressTable.counted_through).where(RunProgressTable.run_id == run)
    )
    return int(mark or 0)


def _beyond_mark(run: int, mark: int) -> dict[str, int]:
    """Return the parameters that select a run's inspections beyond a mark."""
    return {"run": run, "mark": mark} if mark else {"run": run}


def _count_inspections(conn: Connection, **wanted: int) -> InspectionCounts:
    """Count inspections by their current outcome.

    `wanted` is `run`, `run` and `mark` (an inspection id), or `inspection`.
    """
    counted = InspectionCounts()
    statement = _count_statement(dialect_of(conn), frozenset(wanted))
    for row in conn.execute(statement, wanted).mappings():
        day = counted.days.setdefault(row["day"], Counter())
        day.update({name: row[name] for name in _COUNTS})
        counted.newest = max(counted.newest, row["newest"])
        if row["is_anomalous"] is not None:
            for name, verdict in _VERDICT_BY_COUNT.items():
                key = (bool(row["is_anomalous"]), int(row["step"]), verdict)
                counted.answers[key] += row[name]
        if row["first_answer_at"] is not None:
            first, last = row["first_answer_at"], row["last_answer_at"]
            counted.first_answer_at = min(counted.first_answer_at or first, first)
            counted.last_answer_at = max(counted.last_answer_at or last, last)
    return counted


def _condition(wanted: frozenset[str]) -> sa.ColumnElement[bool]:
    if "inspection" in wanted:
        return InspectionTable.id == sa.bindparam("inspection")
    if "mark" not in wanted:
        return InspectionTable.run_id == sa.bindparam("run")
    # `+ 0` keeps the database from using the index on run_id: it reads only ids beyond the mark.
    return sa.and_(
        InspectionTable.id > sa.bindparam("mark"),
        InspectionTable.run_id + 0 == sa.bindparam("run"),
    )


@cache
def _count_statement(dialect: Dialect, wanted: frozenset[str]) -> sa.Select[Any]:
    """Build the statement of _count_inspections(). Building it takes longer than running it."""
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
    current_outcome = sa.func.coalesce(review, VerdictTable.verdict, InspectionTable.verdict)
    lines = (
        sa.select(
            sa.literal_column(dialect.day("inspections.inspected_at"), sa.Date).label("day"),
            InspectionTable.id,
            current_outcome.label("outcome"),
            InspectionTable.reused,
            asked.label("asked"),
            sa.and_(asked, ~judged_before).label("part"),
            sa.case((asked, DetectionTable.detected_at)).label("answered_at"),
            DetectionTable.is_anomalous,
            sa.literal_column(dialect.hundredths("detections.confidence"), sa.Integer).label(
                "step"
            ),
        )
        .join(RunTable, RunTable.id == InspectionTable.run_id)
        .outerjoin(DetectionTable, DetectionTable.id == InspectionTable.detection_id)
        .outerjoin(VerdictTable, joins_later_verdict())
        .where(_condition(wanted))
        .subquery()
    )

    def count_where(*conditions: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
        return sa.func.count(sa.case((sa.and_(*conditions), 1)))

    outcome, part = lines.c.outcome, lines.c.part
    groups = (lines.c.day, lines.c.is_anomalous, lines.c.step)
    counted: sa.Select[Any] = sa.select(
        *groups,
        count_where(outcome == "accept").label("accepted"),
        count_where(outcome == "reject").label("rejected"),
        count_where(outcome == "review").label("review"),
        count_where(outcome.is_(None)).label("errors"),
        count_where(lines.c.reused).label("reused"),
        count_where(lines.c.asked).label("asked"),
        count_where(outcome == "accept", part).label("parts_accepted"),
        count_where(outcome == "reject", part).label("parts_rejected"),
        count_where(outcome == "review", part).label("parts_review"),
        sa.func.max(lines.c.id).label("newest"),
        sa.func.min(lines.c.answered_at).label("first_answer_at"),
        sa.func.max(lines.c.answered_at).label("last_answer_at"),
    ).group_by(*groups)
    return counted


def _add(conn: Connection, run: int, counted: InspectionCounts, *, sign: int) -> None:
    table = TallyTable.__table__
    for day, counts in counted.days.items():
        values: dict[str, Any] = {
            name: table.c[name] + sign * number for name, number in counts.items() if number
        }
        updated = conn.execute(
            sa.update(TallyTable)
            .where(TallyTable.run_id == run, TallyTable.day == day)
            .values(values or {"run_id": run})  # even without changes, rowcount shows if it exists
        )
        if updated.rowcount == 0:
            conn.execute(sa.insert(TallyTable).values(run_id=run, day=day, **counts))
    add_answers(conn, run, counted.answers, sign=sign)


def _add_usage(change: Change, run: int, counted: InspectionCounts) -> None:
    """Add new answers to the run's usage of the hosting of its newest lease, if any."""
    answers = sum(day["asked"] for day in counted.days.values())
    first, last = counted.first_answer_at, counted.last_answer_at
    if not answers or first is None or last is None:
        return
    hosting = change.conn.scalar(
        sa.select(LeaseTable.hosting_id)
        .where(LeaseTable.run_id == run)
        .order_by(LeaseTable.id.desc())
        .limit(1)
    )
    if hosting is None:
        return
    usage = change.conn.execute(
        sa.select(
            HostingUsageTable.id,
            HostingUsageTable.images,
            HostingUsageTable.first_answer_at,
            HostingUsageTable.last_answer_at,
        ).where(HostingUsageTable.run_id == run, HostingUsageTable.hosting_id == hosting)
    ).one_or_none()
    if usage is None:
        change.insert(
            "hosting_usage",
            hosting_id=hosting,
            run_id=run,
            images=answers,
            first_answer_at=first,
            last_answer_at=last,
        )
        return
    change.update(
        "hosting_usage",
        usage.id,
        images=usage.images + answers,
        first_answer_at=min(usage.first_answer_at, first),
        last_answer_at=max(usage.last_answer_at, last),
    )
