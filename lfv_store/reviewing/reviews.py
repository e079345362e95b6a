"""Reviews: people's verdicts on inspections. They are only ever appended, and the last one counts.

Leaving a part undecided, undoing a review and contradicting an unseen earlier review each append a
review too, with the verdict that counts from then on.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from datetime import datetime
from itertools import groupby, pairwise
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row, RowMapping
from sqlalchemy.orm import aliased

from lfv_store.audit.change import Change, commit
from lfv_store.clean_text import clean, clean_or_none
from lfv_store.errors import InvalidRecord, ReviewTaken, UnknownInspection
from lfv_store.records.base import VERDICTS, JsonObject
from lfv_store.records.reviews import NewReview, QueuedReview, Review, ReviewPair
from lfv_store.repository import Repository
from lfv_store.reviewing.effective_reviews import (
    effective_reviews,
    is_last_review,
    with_effective_review,
)
from lfv_store.reviewing.review_queue import candidates
from lfv_store.reviewing.same_picture import GIVEN_ON
from lfv_store.runs import lock_run
from lfv_store.tables import (
    ImageTable,
    InspectionTable,
    ReviewLeaseTable,
    ReviewTable,
    RunTable,
    SecondReviewTable,
)
from lfv_store.tallies import put_back, take_out, update_tallies
from lfv_store.views import INSPECTION_RESULTS, REVIEW_QUEUE

_PAGE = 500
_PAIRS = 100_000
_DISAGREE = "two reviewers disagree"
_REVIEWS = (
    sa.select(
        ReviewTable.id.label("review_id"),
        ReviewTable.inspection_id,
        RunTable.run_id,
        InspectionTable.source_ref,
        ImageTable.sha256.label("image_sha256"),
        ReviewTable.verdict,
        ReviewTable.reviewer,
        ReviewTable.comment,
        ReviewTable.reviewed_at,
        ReviewTable.kind,
        ReviewTable.reason,
        ReviewTable.shown,
        ReviewTable.signature,
    )
    .join(InspectionTable, InspectionTable.id == ReviewTable.inspection_id)
    .join(RunTable, RunTable.id == InspectionTable.run_id)
    .outerjoin(ImageTable, ImageTable.id == InspectionTable.image_id)
)


class Reviews(Repository):
    """`store.reviews`."""

    def record(self, new: NewReview) -> Review:
        """Record a review, and return it as stored.

        A second review that contradicts the first is followed by one of kind `conflict`, which
        leaves the part undecided. The part's lease ends.

        Raises:
            ReviewTaken: Another person has the part, or has reviewed it since `new.seen`.
            UnknownInspection: No inspection has this id.
            InvalidRecord: The review is not valid.
        """
        name = _check(new)
        new = replace(new, reviewer=name)

        def work(change: Change) -> int:
            run = _lock(change, new.inspection_id)
            known = _by_token(change.conn, new)
            if known is not None:
                return known
            last = _last(change.conn, new.inspection_id)
            _refuse_taken(change, new, 0 if last is None else int(last["id"]))
            update_tallies(change, run)
            take_out(change, run, new.inspection_id)
            review_id = _insert(change, new)
            if new.kind == "second":
                _settle_second(change, new, last)
            elif new.verdict != "review" and _is_sampled(new.second_share):
                _queue_second(change.conn, new)
            put_back(change, run, new.inspection_id)
            _delete_lease(change.conn, new.inspection_id)
            return review_id

        return self._get(commit(self._database, name, "review.added", str(new.inspection_id), work))

    def undo(
        self,
        inspection_id: int,
        reviewer: str,
        token: str | None = None,
        *,
        signature: JsonObject | None = None,
    ) -> Review:
        """Undo the last review of an inspection, which must be by `reviewer`.

        The review before it counts again, else the policy's verdict. `signature` is the reviewer's
        signature of the undo.

        Raises:
            ReviewTaken: The last review is another person's, or was undone already.
            UnknownInspection: No inspection has this id.
        """
        name = clean(reviewer).strip()

        def work(change: Change) -> int:
            run = _lock(change, inspection_id)
            new = NewReview(inspection_id, "review", name, token=token, signature=signature)
            known = _by_token(change.conn, new)
            if known is not None:
                return known
            history = _history(change.conn, inspection_id)
            while history and history[-1].kind == "conflict":
                history.pop()
            if not history or history[-1].reviewer != name:
                raise ReviewTaken("there is no review of yours to take back: it is not the last")
            verdict: Any = change.conn.scalar(
                sa.select(INSPECTION_RESULTS.c.verdict).where(
                    INSPECTION_RESULTS.c.inspection_id == inspection_id
                )
            )
            if len(history) > 1:
                verdict = history[-2].verdict
            update_tallies(change, run)
            take_out(change, run, inspection_id)
            review_id = _insert(change, replace(new, verdict=verdict), kind="undo")
            if history[-1].kind == "second":
                _queue_second(change.conn, replace(new, reviewer=history[-2].reviewer))
            else:
                _drop_second(change.conn, inspection_id)
            put_back(change, run, inspection_id)
            return review_id

        return self._get(commit(self._database, name, "review.undone", str(inspection_id), work))

    def _get(self, review_id: int) -> Review:
        with self._database.read() as conn:
            return _review(conn, review_id)

    def queue(self, *, run_id: str | None = None, limit: int = 50) -> Sequence[QueuedReview]:
        """Return up to `limit` inspections that wait for a review.

        These are inspections whose last review leaves them undecided, and those with the verdict
        `review` in the current decision that nobody has reviewed.
        """
        number = REVIEW_QUEUE.c.inspection_id
        waiting = sa.select(*(REVIEW_QUEUE.c[field.name] for field in fields(QueuedReview)))
        found: list[QueuedReview] = []
        with self._database.read() as conn:
            for numbers in candidates(conn, run_id):
                if len(found) >= limit:
                    break
                statement = waiting.where(number.in_(numbers)).order_by(number)
                rows = conn.execute(statement.limit(limit - len(found))).mappings()
                found += [QueuedReview(**row) for row in rows]
        return found

    def history(self, inspection_id: int) -> Sequence[Review]:
        """Return all reviews of an inspection, the oldest first. Raises UnknownInspection."""
        with self._database.read() as conn:
            known = conn.scalar(
                sa.select(InspectionTable.id).where(InspectionTable.id == inspection_id)
            )
            if known is None:
                raise UnknownInspection(f"no inspection has id {inspection_id}")
            rows = conn.execute(
                _REVIEWS.where(ReviewTable.inspection_id == inspection_id).order_by(ReviewTable.id)
            ).mappings()
            return [Review(**row) for row in rows]

    def latest(self, *, run_id: str | None = None) -> Iterator[Review]:
        """Stream the review that counts for each reviewed inspection, by inspection id.

        An undone review does not count; the one before it does, if there is one. Used to export
        reviewed images as labelled training data.
        """
        conditions = [is_last_review()]
        if run_id is not None:
            conditions.append(RunTable.run_id == run_id)
        after = 0
        while True:
            with self._database.read() as conn:
                rows = conn.execute(
                    _REVIEWS.where(*conditions, ReviewTable.inspection_id > after)
                    .order_by(ReviewTable.inspection_id)
                    .limit(_PAGE)
                ).mappings()
                page = [Review(**row) for row in rows]
                undone = {one.inspection_id for one in page if one.kind == "undo"}
                before = {one: _last_effective(conn, one) for one in undone}
            if not page:
                return
            for review in page:
                found = before.get(review.inspection_id, review)
                if found is not None:
                    yield found
            after = page[-1].inspection_id

    def parts_since(self, run_id: str, at: datetime) -> int:
        """Count a run's parts of which a review was recorded or taken back after `at`."""
        statement = (
            sa.select(sa.func.count(sa.distinct(ReviewTable.inspection_id)))
            .join(InspectionTable, InspectionTable.id == ReviewTable.inspection_id)
            .join(RunTable, RunTable.id == InspectionTable.run_id)
            .where(RunTable.run_id == run_id, ReviewTable.reviewed_at > at)
        )
        with self._database.read() as conn:
            return conn.scalar(statement) or 0

    def pairs(self) -> Sequence[ReviewPair]:
        """Return pairs of independent reviews of the same parts, for measuring agreement.

        The newest 100,000, without undone reviews.
        """
        second, other = aliased(ReviewTable), aliased(ReviewTable)
        seconds = (
            sa.select(second.inspection_id)
            .where(second.kind == "second")
            .group_by(second.inspection_id)
            .order_by(sa.func.max(second.id).desc())
            .limit(_PAIRS)
            .subquery()
        )
        statement = (
            sa.select(other.inspection_id, other.kind, other.verdict, other.reviewer, other.shown)
            .join(seconds, seconds.c.inspection_id == other.inspection_id)
            .order_by(other.inspection_id, other.id)
        )
        found: list[ReviewPair] = []
        with self._database.read() as conn:
            for part, reviews in groupby(conn.execute(statement), lambda one: one.inspection_id):
                in_effect = [one for one in effective_reviews(reviews) if one.kind != "conflict"]
                found += [
                    ReviewPair(part, one.verdict, two.verdict, one.reviewer, two.reviewer)
                    for one, two in pairwise(in_effect)
                    if two.kind == "second" and GIVEN_ON not in (two.shown or {})
                ]
        return found

    def against_the_model(self) -> dict[tuple[bool, str], int]:
        """Count reviewed parts by (model's answer, verdict of the review that counts).

        A part whose reviews were all taken back is left out. An answer that several runs have
        counts once.
        """
        columns = INSPECTION_RESULTS.c
        answers = sa.func.count(sa.distinct(columns.detection_id))
        statement = (
            sa.select(columns.is_anomalous, columns.reviewed_verdict, answers)
            .where(
                columns.inspection_id.in_(with_effective_review()),
                columns.reviewed_verdict.in_(("accept", "reject")),
                columns.is_anomalous.is_not(None),
            )
            .group_by(columns.is_anomalous, columns.reviewed_verdict)
        )
        with self._database.read() as conn:
            return {(bool(a), str(v)): int(n) for a, v, n in conn.execute(statement)}


def _check(new: NewReview) -> str:
    """Return the reviewer's name. Raises InvalidRecord."""
    if new.verdict not in VERDICTS:
        raise InvalidRecord(f"a review's verdict is accept, reject or review, not {new.verdict!r}")
    name = clean(new.reviewer).strip()
    if not name:
        raise InvalidRecord("a review needs the name of its reviewer")
    return name


def _lock(change: Change, inspection_id: int) -> int:
    """Lock the inspection's run and return its internal id. Raises UnknownInspection."""
    run_id = change.conn.scalar(
        sa.select(RunTable.run_id)
        .join(InspectionTable, InspectionTable.run_id == RunTable.id)
        .where(InspectionTable.id == inspection_id)
    )
    if run_id is None:
        raise UnknownInspection(f"no inspection has id {inspection_id}")
    return lock_run(change.conn, run_id)


def _by_token(conn: Connection, new: NewReview) -> int | None:
    """Return the id of the review that an earlier identical request recorded, or None."""
    if new.token is None:
        return None
    row = conn.execute(
        sa.select(ReviewTable.id, ReviewTable.inspection_id, ReviewTable.reviewer).where(
            ReviewTable.token == new.token
        )
    ).one_or_none()
    if row is None:
        return None
    if (row.inspection_id, row.reviewer) != (new.inspection_id, new.reviewer):
        raise InvalidRecord("the token of this review was used for another one")
    return int(row.id)


def _history(conn: Connection, inspection_id: int) -> list[Row[Any]]:
    """Return the reviews of an inspection that were not undone."""
    return effective_reviews(
        conn.execute(
            sa.select(ReviewTable.__table__)
            .where(ReviewTable.inspection_id == inspection_id)
            .order_by(ReviewTable.id)
        )
    )


def _last_effective(conn: Connection, inspection_id: int) -> Review | None:
    """Return the last review of an inspection that was not undone, or None."""
    history = _history(conn, inspection_id)
    return _review(conn, history[-1].id) if history else None


def _review(conn: Connection, review_id: int) -> Review:
    return Review(**conn.execute(_REVIEWS.where(ReviewTable.id == review_id)).mappings().one())


def _last(conn: Connection, inspection_id: int) -> RowMapping | None:
    newest = (
        sa.select(ReviewTable.__table__)
        .where(ReviewTable.inspection_id == inspection_id)
        .order_by(ReviewTable.id.desc())
        .limit(1)
    )
    return conn.execute(newest).mappings().one_or_none()


def _refuse_taken(change: Change, new: NewReview, last: int) -> None:
    if new.seen is not None and new.seen != last:
        raise ReviewTaken("somebody else has decided on this part meanwhile; look at it again")
    holder = change.conn.execute(
        sa.select(ReviewLeaseTable.holder, ReviewLeaseTable.expires_at).where(
            ReviewLeaseTable.inspection_id == new.inspection_id
        )
    ).one_or_none()
    if (
        new.holder is not None
        and holder is not None
        and holder.holder != new.holder
        and holder.expires_at > change.now
    ):
        raise ReviewTaken("somebody else is looking at this part now; review the next one")


def _insert(change: Change, new: NewReview, kind: str | None = None) -> int:
    return change.insert(
        "reviews",
        inspection_id=new.inspection_id,
        verdict=new.verdict,
        reviewer=new.reviewer,
        comment=clean(new.comment),
        reviewed_at=change.now,
        kind=kind or new.kind,
        reason=clean(new.reason),
        shown=new.shown,
        signature=new.signature,
        token=clean_or_none(new.token),
    )


def _settle_second(change: Change, new: NewReview, first: RowMapping | None) -> None:
    """Settle a part after its second review: decided if both agree, else a third is needed."""
    _drop_second(change.conn, new.inspection_id)
    if first is not None and first["verdict"] != new.verdict:
        undecided = replace(
            new, verdict="review", comment=_DISAGREE, reason="", shown=None, token=None
        )
        _insert(change, replace(undecided, signature=None), kind="conflict")


def _is_sampled(share: float) -> bool:
    return share > 0 and secrets.randbelow(1_000_000) < share * 1_000_000


def _queue_second(conn: Connection, new: NewReview) -> None:
    _drop_second(conn, new.inspection_id)
    conn.execute(
        sa.insert(SecondReviewTable).values(
            inspection_id=new.inspection_id, first_reviewer=new.reviewer
        )
    )


def _drop_second(conn: Connection, inspection_id: int) -> None:
    conn.execute(
        sa.delete(SecondReviewTable).where(SecondReviewTable.inspection_id == inspection_id)
    )


def _delete_lease(conn: Connection, inspection_id: int) -> None:
    conn.execute(sa.delete(ReviewLeaseTable).where(ReviewLeaseTable.inspection_id == inspection_id))
