"""Reviews: what people say about inspections. Appended, never overwritten; the last one stands."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import aliased

from lfv_store.audit.change import Change, commit
from lfv_store.database import Database
from lfv_store.errors import InvalidRecord, UnknownInspection
from lfv_store.records import REVIEW_VERDICTS, QueuedReview, Review, VerdictName
from lfv_store.tables import (
    DetectionTable,
    ImageTable,
    InspectionTable,
    ReviewTable,
    RunTable,
)
from lfv_store.text import clean

_PAGE = 500
_QUEUE = (
    sa.text(
        "SELECT inspection_id, run_id, line_number, source_ref, image_sha256, project_name,"
        " model_version, is_anomalous, confidence, reasons, attributes, inspected_at"
        " FROM review_queue WHERE inspection_id > :after AND (:run IS NULL OR run_id = :run)"
        " ORDER BY inspection_id LIMIT :limit"
    )
    .bindparams(
        sa.bindparam("after", type_=sa.BigInteger),
        sa.bindparam("run", type_=sa.Text),
        sa.bindparam("limit", type_=sa.Integer),
    )
    .columns(
        is_anomalous=DetectionTable.is_anomalous.type,
        reasons=InspectionTable.reasons.type,
        attributes=InspectionTable.attributes.type,
        inspected_at=InspectionTable.inspected_at.type,
    )
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
            known = unit.conn.scalar(
                sa.select(InspectionTable.id).where(InspectionTable.id == inspection_id)
            )
            if known is None:
                raise UnknownInspection(f"no inspection has id {inspection_id}")
            return unit.insert(
                "reviews",
                inspection_id=inspection_id,
                verdict=verdict,
                reviewer=name,
                comment=clean(comment),
                reviewed_at=at or unit.now,
            )

        return commit(self._database, name, "review.added", str(inspection_id), work)

    def queue(
        self, *, run_id: str | None = None, after: int = 0, limit: int = 50
    ) -> Sequence[QueuedReview]:
        """What waits for a person, by inspection id: those behind `after`, at most `limit`.

        Waiting is what the current decision calls `review` and nobody has reviewed.
        """
        with self._database.read() as conn:
            rows = conn.execute(_QUEUE, {"after": after, "run": run_id, "limit": limit}).all()
        return [QueuedReview(*row) for row in rows]

    def history(self, inspection_id: int) -> Sequence[Review]:
        """All reviews of an inspection, the first one first. Raises UnknownInspection."""
        with self._database.read() as conn:
            known = conn.scalar(
                sa.select(InspectionTable.id).where(InspectionTable.id == inspection_id)
            )
            if known is None:
                raise UnknownInspection(f"no inspection has id {inspection_id}")
            rows = conn.execute(_reviews(ReviewTable.inspection_id == inspection_id)).all()
        return [_review(row) for row in rows]

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
                    _reviews(*conditions, ReviewTable.inspection_id > after)
                    .order_by(None)
                    .order_by(ReviewTable.inspection_id)
                    .limit(_PAGE)
                ).all()
            if not rows:
                return
            yield from (_review(row) for row in rows)
            after = rows[-1].inspection_id


def _reviews(*conditions: sa.ColumnElement[bool]) -> sa.Select[*tuple[Any, ...]]:
    return (
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
        .where(*conditions)
        .order_by(ReviewTable.id)
    )


def _review(row: sa.Row[*tuple[Any, ...]]) -> Review:
    return Review(**row._asdict())
