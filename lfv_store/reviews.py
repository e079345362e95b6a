"""Reviews: what people say about inspections. Appended, never overwritten; the last one stands."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import aliased

from lfv_store.audit.change import Change, commit
from lfv_store.database import Database
from lfv_store.errors import InvalidRecord, UnknownInspection
from lfv_store.records import REVIEW_VERDICTS, QueuedReview, Review, VerdictName
from lfv_store.runs import lock_run
from lfv_store.tables import (
    ImageTable,
    InspectionTable,
    ReviewTable,
    RunTable,
)
from lfv_store.tallies import count_run, put_back, take_out
from lfv_store.text import clean
from lfv_store.views import REVIEW_QUEUE

_PAGE = 500
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
    )
    .join(InspectionTable, InspectionTable.id == ReviewTable.inspection_id)
    .join(RunTable, RunTable.id == InspectionTable.run_id)
    .outerjoin(ImageTable, ImageTable.id == InspectionTable.image_id)
)


class Reviews:
    """`store.reviews`."""

    def __init__(self, database: Database, actor: str) -> None:
        self._database = database
        self._actor = actor

    def add(
        self,
        inspection_id: int,
        verdict: VerdictName,
        reviewer: str,
        comment: str = "",
        at: datetime | None = None,
    ) -> int:
        """Record a person's verdict, `accept` or `reject`; gives the review's id.

        `at` is the database's time unless given. Raises UnknownInspection, InvalidRecord.
        """
        if verdict not in REVIEW_VERDICTS:
            raise InvalidRecord(f"a review says accept or reject, not {verdict!r}")
        name = clean(reviewer).strip()
        if not name:
            raise InvalidRecord("a review needs the name of its reviewer")

        def work(unit: Change) -> int:
            run_id = unit.conn.scalar(
                sa.select(RunTable.run_id)
                .join(InspectionTable, InspectionTable.run_id == RunTable.id)
                .where(InspectionTable.id == inspection_id)
            )
            if run_id is None:
                raise UnknownInspection(f"no inspection has id {inspection_id}")
            run = lock_run(unit.conn, run_id)
            count_run(unit, run)
            take_out(unit, run, inspection_id)
            review_id = unit.insert(
                "reviews",
                inspection_id=inspection_id,
                verdict=verdict,
                reviewer=name,
                comment=clean(comment),
                reviewed_at=at or unit.now,
            )
            put_back(unit, run, inspection_id)
            return review_id

        return commit(self._database, name, "review.added", str(inspection_id), work)

    def queue(
        self, *, run_id: str | None = None, after: int = 0, limit: int = 50
    ) -> Sequence[QueuedReview]:
        """What waits for a person, by inspection id: those behind `after`, at most `limit`.

        Waiting is what the current decision calls `review` and nobody has reviewed.
        """
        waiting = (
            sa.select(*(REVIEW_QUEUE.c[field.name] for field in fields(QueuedReview)))
            .where(REVIEW_QUEUE.c.inspection_id > after)
            .order_by(REVIEW_QUEUE.c.inspection_id)
            .limit(limit)
        )
        if run_id is not None:
            waiting = waiting.where(REVIEW_QUEUE.c.run_id == run_id)
        with self._database.read() as conn:
            return [QueuedReview(**row) for row in conn.execute(waiting).mappings()]

    def history(self, inspection_id: int) -> Sequence[Review]:
        """All reviews of an inspection, the first one first. Raises UnknownInspection."""
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
        """The review that stands for each reviewed inspection, by inspection id; streamed.

        For the export of reviewed images as labelled training data.
        """
        newer = aliased(ReviewTable)
        last = ~sa.exists().where(
            newer.inspection_id == ReviewTable.inspection_id, newer.id > ReviewTable.id
        )
        conditions = [last]
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
            if not page:
                return
            yield from page
            after = page[-1].inspection_id
