"""The head of the review queue, read without sorting the whole queue."""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from lfv_store.tables import InspectionTable, ReviewTable, RunTable, VerdictTable

_FIRST, _MOST = 100, 10_000


def candidates(conn: Connection, run_id: str | None) -> Iterator[list[int]]:
    """Yield ids that may wait for a review, in growing blocks.

    The view `review_queue` decides which of them do.
    """
    first = sa.select(InspectionTable.id).where(InspectionTable.verdict == "review")
    later = (
        sa.select(VerdictTable.inspection_id)
        .join(RunTable, RunTable.later_decision_id == VerdictTable.decision_id)
        .where(VerdictTable.verdict == "review")
    )
    undecided = sa.select(ReviewTable.inspection_id).where(ReviewTable.verdict == "review")
    if run_id is not None:
        run = sa.select(RunTable.id).where(RunTable.run_id == run_id).scalar_subquery()
        first = first.where(InspectionTable.run_id == run)
        later = later.where(RunTable.run_id == run_id)
        undecided = undecided.join(
            InspectionTable, InspectionTable.id == ReviewTable.inspection_id
        ).where(InspectionTable.run_id == run)
    after, limit = -1, _FIRST
    while True:
        parts = []
        for statement, column in (
            (first, InspectionTable.id),
            (later, VerdictTable.inspection_id),
            (undecided, ReviewTable.inspection_id),
        ):
            part = statement.where(column > after).order_by(column).limit(limit).subquery()
            parts.append(sa.select(part))
        together = sa.union(*parts).subquery()
        number = together.c[0]
        found = list(conn.scalars(sa.select(number).order_by(number).limit(limit)))
        if not found:
            return
        yield found
        after, limit = found[-1], min(4 * limit, _MOST)
