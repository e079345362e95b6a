"""Inspections of several runs that have one answer: a reviewer sees the same picture in each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from lfv_store.reviewing.effective_reviews import effective_reviews
from lfv_store.tables import InspectionTable, ReviewLeaseTable, ReviewTable
from lfv_store.views import REVIEW_QUEUE

#: The key of a review's `shown` that names the inspection on which its reviewer decided, in the
#: reviews of the other inspections of that picture.
GIVEN_ON = "given_on"
#: Maximum number of other inspections that a review counts for; the rest keep waiting.
_MOST = 200


def leased_answers(conn: Connection) -> set[int]:
    """Return the detections of the parts that are handed out."""
    return set(
        conn.scalars(
            sa.select(InspectionTable.detection_id)
            .join(ReviewLeaseTable, ReviewLeaseTable.inspection_id == InspectionTable.id)
            .where(InspectionTable.detection_id.is_not(None))
        )
    )


def waiting_alike(
    conn: Connection, inspection_id: int, conditions: Iterable[sa.ColumnElement[bool]] = ()
) -> tuple[int, ...]:
    """Return the other inspections of a part's picture and answer that wait for a review.

    `conditions` are on `review_queue.inspection_id`.
    """
    column = REVIEW_QUEUE.c.inspection_id
    others = _others(conn, inspection_id)
    if not others:
        return ()
    statement = sa.select(column).where(column.in_(others), *conditions).order_by(column)
    return tuple(conn.scalars(statement))


def reviewed_alike(conn: Connection, inspection_id: int) -> tuple[int, ...]:
    """Return the inspections whose last review was given on this one, for the same picture."""
    return tuple(one for one in _others(conn, inspection_id) if _origin(conn, one) == inspection_id)


def _others(conn: Connection, inspection_id: int) -> Sequence[int]:
    answer = (
        sa.select(InspectionTable.detection_id)
        .where(InspectionTable.id == inspection_id)
        .scalar_subquery()
    )
    statement = (
        sa.select(InspectionTable.id)
        .where(InspectionTable.detection_id == answer, InspectionTable.id != inspection_id)
        .order_by(InspectionTable.id.desc())
        .limit(_MOST)
    )
    return conn.scalars(statement).all()


def _origin(conn: Connection, inspection_id: int) -> Any:
    """Return the inspection on which the last review of this one was given; None if on itself."""
    rows = conn.execute(
        sa.select(ReviewTable.kind, ReviewTable.shown)
        .where(ReviewTable.inspection_id == inspection_id)
        .order_by(ReviewTable.id)
    )
    found = [review for review in effective_reviews(rows) if review.kind != "conflict"]
    return (found[-1].shown or {}).get(GIVEN_ON) if found else None
