"""Hands out parts for review, each to one person at a time."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from lfv_store.dialects import dialect_of
from lfv_store.errors import ReviewTaken
from lfv_store.records.reviews import ClaimedReview
from lfv_store.repository import Repository
from lfv_store.reviewing.effective_reviews import has_effective_review, is_last_review
from lfv_store.reviewing.review_queue import candidates
from lfv_store.reviewing.same_picture import leased_answers, reviewed_alike, waiting_alike
from lfv_store.runs import require_run
from lfv_store.tables import (
    InspectionTable,
    ReviewLeaseTable,
    ReviewTable,
    RunTable,
    SecondReviewTable,
    VerdictTable,
)
from lfv_store.tallies import (
    current_counts,
    current_reviews,
    current_verdict,
    joins_later_verdict,
)
from lfv_store.views import REVIEW_QUEUE

Decided = Literal["accept", "reject"]
_QUEUE_LOCK = 0x6C66_7603
#: Share of hand-outs that offer second reviews before parts without a review.
_SECONDS_FIRST = 1 / 3


class ReviewLeases(Repository):
    """`store.review_leases`."""

    def claim(
        self,
        reviewer: str,
        holder: str,
        *,
        ttl: timedelta,
        limit: int = 1,
        run_id: str | None = None,
        again: bool = False,
        decided: Decided | None = None,
    ) -> Sequence[ClaimedReview]:
        """Hand out parts to `holder` until `ttl` from now, including those that it already holds.

        Parts that `reviewer` has reviewed before are left to others, unless `again`. `holder` is a
        browser window, so that two windows of one person get different parts. With `decided`, the
        parts come not from the queue but from run `run_id`: those that the policy accepts or
        rejects and nobody has reviewed. Of a picture that waits in several runs, one part is
        handed out. Raises UnknownRun.
        """

        def work(conn: Connection) -> Sequence[ClaimedReview]:
            dialect = dialect_of(conn)
            dialect.lock(conn, _QUEUE_LOCK)
            now = dialect.now(conn)
            conn.execute(sa.delete(ReviewLeaseTable).where(ReviewLeaseTable.expires_at <= now))
            held = _renew(conn, holder, now + ttl)
            missing = max(0, limit - len(held))
            if decided is not None:
                run = require_run(conn, str(run_id))
                new = list(conn.scalars(_unseen(run, decided).limit(missing)))
            else:
                new = _choose(conn, reviewer, missing, run_id, again=again)
            chosen = [*held, *new]
            for one in new:
                conn.execute(
                    sa.insert(ReviewLeaseTable).values(
                        inspection_id=one, holder=holder, expires_at=now + ttl
                    )
                )
            seconds = _awaiting_second_review(conn, chosen)
            return [
                ClaimedReview(
                    inspection_id=one,
                    kind="second" if one in seconds else "review",
                    last_review=_last_review(conn, one),
                    expires_at=now + ttl,
                    also=()
                    if decided
                    else _alike(conn, one, None if again else reviewer, one in seconds),
                )
                for one in chosen
            ]

        return self._database.transact(work)

    def take(self, inspection_id: int, holder: str, *, ttl: timedelta) -> None:
        """Hand out one part in any state. Raises ReviewTaken if another holder has it."""

        def work(conn: Connection) -> None:
            dialect = dialect_of(conn)
            dialect.lock(conn, _QUEUE_LOCK)
            now = dialect.now(conn)
            row = conn.execute(
                sa.select(ReviewLeaseTable.holder, ReviewLeaseTable.expires_at).where(
                    ReviewLeaseTable.inspection_id == inspection_id
                )
            ).one_or_none()
            if row is not None and row.holder != holder and row.expires_at > now:
                raise ReviewTaken("somebody else is looking at this part")
            if row is not None:
                conn.execute(
                    sa.delete(ReviewLeaseTable).where(
                        ReviewLeaseTable.inspection_id == inspection_id
                    )
                )
            conn.execute(
                sa.insert(ReviewLeaseTable).values(
                    inspection_id=inspection_id, holder=holder, expires_at=now + ttl
                )
            )

        self._database.transact(work)

    def is_second(self, inspection_id: int, reviewer: str) -> bool:
        """Whether a review by this person would be the requested second review."""
        with self._database.read() as conn:
            first = conn.scalar(
                sa.select(SecondReviewTable.first_reviewer).where(
                    SecondReviewTable.inspection_id == inspection_id
                )
            )
        return first is not None and first != reviewer

    def alike(self, inspection_id: int) -> tuple[int, ...]:
        """Return the inspections for which a review of this one may count too.

        They have the same picture and answer, and wait for a review or have the review of this one.
        """
        with self._database.read() as conn:
            waiting = waiting_alike(conn, inspection_id)
            return tuple(sorted({*waiting, *reviewed_alike(conn, inspection_id)}))

    def reviewed_alike(self, inspection_id: int) -> tuple[int, ...]:
        """Return the inspections of the same picture that have the review of this one."""
        with self._database.read() as conn:
            return reviewed_alike(conn, inspection_id)

    def release(self, holder: str) -> None:
        """End the leases of `holder`."""

        statement = sa.delete(ReviewLeaseTable).where(ReviewLeaseTable.holder == holder)
        self._database.transact(lambda conn: conn.execute(statement))

    def waiting(self, reviewer: str, *, run_id: str | None = None) -> tuple[int, int]:
        """Count the parts that wait for a review, and those of them `reviewer` has reviewed."""
        undecided = (
            sa.select(
                InspectionTable.detection_id,
                _reviewed_by(reviewer, ReviewTable.inspection_id).label("is_known"),
            )
            .select_from(ReviewTable)
            .join(InspectionTable, InspectionTable.id == ReviewTable.inspection_id)
            .where(
                sa.text("reviews.verdict = 'review'"),  # matches the partial index
                is_last_review(),
            )
        )
        with self._database.read() as conn:
            run = None if run_id is None else require_run(conn, run_id)
            if run is not None:
                undecided = undecided.where(InspectionTable.run_id == run)
            total = current_reviews(conn, run)
            rows = conn.execute(undecided).all()
        # A part that could not be inspected is never in the queue, even after a review.
        answered = [row for row in rows if row.detection_id is not None]
        return total - (len(rows) - len(answered)), sum(bool(row.is_known) for row in answered)

    def unreviewed(self, run_id: str, decided: Decided) -> int:
        """Count a run's parts that the policy accepts or rejects and nobody has reviewed."""
        reviewed = (
            sa.select(sa.func.count())
            .select_from(ReviewTable)
            .join(InspectionTable, InspectionTable.id == ReviewTable.inspection_id)
            .where(
                ReviewTable.verdict == decided,
                sa.or_(ReviewTable.kind != "undo", has_effective_review(InspectionTable.id)),
                is_last_review(),
            )
        )
        with self._database.read() as conn:
            run = require_run(conn, run_id)
            counts = current_counts(conn, run)
            judged = counts["accepted" if decided == "accept" else "rejected"]
            return judged - (conn.scalar(reviewed.where(InspectionTable.run_id == run)) or 0)


def _renew(conn: Connection, holder: str, until: datetime) -> list[int]:
    """Extend a holder's leases to `until` and return their inspections."""
    mine = ReviewLeaseTable.holder == holder
    conn.execute(sa.update(ReviewLeaseTable).where(mine).values(expires_at=until))
    held = sa.select(ReviewLeaseTable.inspection_id).where(mine)
    return list(conn.scalars(held.order_by(ReviewLeaseTable.inspection_id)))


def _choose(
    conn: Connection, reviewer: str, limit: int, run_id: str | None, *, again: bool
) -> list[int]:
    seconds = _seconds(conn, reviewer, limit)
    first: list[int] = []
    while seconds and len(first) < limit and random.random() < _SECONDS_FIRST:  # noqa: S311
        first.append(seconds.pop(0))
    chosen = [*first, *_unreviewed(conn, reviewer, limit - len(first), run_id, again=again)]
    return (chosen + seconds)[:limit]


def _unseen(run: int, decided: Decided) -> sa.Select[Any]:
    """Select a run's parts with this verdict that are free and not reviewed, by line."""
    last_is_review = sa.exists().where(
        ReviewTable.inspection_id == InspectionTable.id,
        sa.or_(ReviewTable.kind != "undo", has_effective_review(InspectionTable.id)),
        is_last_review(),
    )
    return (
        sa.select(InspectionTable.id)
        .join(RunTable, RunTable.id == InspectionTable.run_id)
        .outerjoin(VerdictTable, joins_later_verdict())
        .where(
            InspectionTable.run_id == run,
            current_verdict() == decided,
            _is_unleased(InspectionTable.id),
            ~last_is_review,
        )
        .order_by(InspectionTable.line_number)
    )


def _reviewed_by(reviewer: str, column: Any) -> sa.ColumnElement[bool]:
    """Whether a person has reviewed a part and not withdrawn the review."""
    return has_effective_review(column, ReviewTable.reviewer == reviewer)  # type: ignore[no-any-return]


def _is_unleased(column: Any) -> sa.ColumnElement[bool]:
    return ~sa.exists().where(ReviewLeaseTable.inspection_id == column)


def _seconds(conn: Connection, reviewer: str, limit: int) -> list[int]:
    column = SecondReviewTable.inspection_id
    statement = sa.select(column).where(~_reviewed_by(reviewer, column), _is_unleased(column))
    return list(conn.scalars(statement.order_by(column).limit(limit)))


def _unreviewed(
    conn: Connection, reviewer: str, limit: int, run_id: str | None, *, again: bool
) -> list[int]:
    """Return the queue's first free parts; `again` includes those `reviewer` has reviewed.

    A picture that waits in several runs is one part, and free if nobody has it of any run.
    """
    column = REVIEW_QUEUE.c.inspection_id
    wanted = [] if again else [~_reviewed_by(reviewer, column)]
    found: list[int] = []
    taken = leased_answers(conn)
    for numbers in candidates(conn, run_id):
        statement = (
            sa.select(column, InspectionTable.detection_id)
            .join(InspectionTable, InspectionTable.id == column)
            .where(column.in_(numbers), *wanted)
            .order_by(column)
        )
        for number, answer in conn.execute(statement):
            if len(found) >= limit:
                return found
            if answer not in taken:
                taken.add(answer)
                found.append(number)
    return found


def _alike(
    conn: Connection, inspection_id: int, reviewer: str | None, is_second: bool
) -> tuple[int, ...]:
    """Return the inspections for which a review of this one counts too.

    Those that wait, without those `reviewer` has reviewed; of a second look, those that have the
    first review.
    """
    if is_second:
        return reviewed_alike(conn, inspection_id)
    column = REVIEW_QUEUE.c.inspection_id
    wanted = [] if reviewer is None else [~_reviewed_by(reviewer, column)]
    return waiting_alike(conn, inspection_id, wanted)


def _awaiting_second_review(conn: Connection, inspections: Sequence[int]) -> set[int]:
    column = SecondReviewTable.inspection_id
    return set(conn.scalars(sa.select(column).where(column.in_(inspections))))


def _last_review(conn: Connection, inspection_id: int) -> int:
    newest = sa.select(sa.func.max(ReviewTable.id)).where(
        ReviewTable.inspection_id == inspection_id
    )
    return int(conn.scalar(newest) or 0)
