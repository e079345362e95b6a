"""Which reviews of a part are in effect: those that were not undone. The last of them counts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol, TypeVar

import sqlalchemy as sa
from sqlalchemy.orm import aliased

from lfv_store.tables import ReviewTable

#: What a review adds to the number of a part's reviews in effect.
_WEIGHT = sa.case((ReviewTable.kind == "undo", -1), (ReviewTable.kind == "conflict", 0), else_=1)


class HasKind(Protocol):
    """The fields of a review that decide whether it is in effect."""

    @property
    def kind(self) -> Any:
        """The kind of the review, see `lfv_store.records.reviews.ReviewKind`."""


Reviewed = TypeVar("Reviewed", bound=HasKind)


def effective_reviews(reviews: Iterable[Reviewed]) -> list[Reviewed]:
    """Return the reviews of one part that were not undone; `reviews` has the oldest first.

    An undo removes the last review, together with the conflict that followed from it.
    """
    found: list[Reviewed] = []
    for review in reviews:
        if review.kind == "undo":
            while found and found[-1].kind == "conflict":
                found.pop()
            if found:
                found.pop()
        else:
            found.append(review)
    return found


def is_last_review() -> sa.ColumnElement[bool]:
    """Whether a row of `ReviewTable` is the last review of its inspection."""
    later = aliased(ReviewTable)
    return ~sa.exists().where(
        later.inspection_id == ReviewTable.inspection_id, later.id > ReviewTable.id
    )


def has_effective_review(inspection_id: Any, *conditions: sa.ColumnElement[bool]) -> Any:
    """Whether an inspection has a review in effect that meets the conditions."""
    number = sa.select(sa.func.coalesce(sa.func.sum(_WEIGHT), 0)).where(
        ReviewTable.inspection_id == inspection_id, *conditions
    )
    return number.correlate_except(ReviewTable).scalar_subquery() > 0


def with_effective_review() -> sa.Select[Any]:
    """Select the ids of the inspections with a review in effect."""
    column = ReviewTable.inspection_id
    return sa.select(column).group_by(column).having(sa.func.sum(_WEIGHT) > 0)
