"""Which reviews of a part stand: those that nobody took back. The last of them counts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol, TypeVar

import sqlalchemy as sa

from lfv_store.tables import ReviewTable

#: What a review adds to the number of a part's reviews that stand.
_WEIGHT = sa.case((ReviewTable.kind == "undo", -1), (ReviewTable.kind == "conflict", 0), else_=1)


class HasKind(Protocol):
    """A review, as far as it matters here."""

    @property
    def kind(self) -> Any:
        """The kind of the review, see `lfv_store.people.ReviewKind`."""


Reviewed = TypeVar("Reviewed", bound=HasKind)


def standing(reviews: Iterable[Reviewed]) -> list[Reviewed]:
    """Return the reviews of one part that were not taken back; `reviews` has the oldest first.

    An undo takes back the last review, together with the disagreement that followed from it.
    """
    stand: list[Reviewed] = []
    for review in reviews:
        if review.kind == "undo":
            while stand and stand[-1].kind == "conflict":
                stand.pop()
            if stand:
                stand.pop()
        else:
            stand.append(review)
    return stand


def has_standing(inspection_id: Any, *conditions: sa.ColumnElement[bool]) -> Any:
    """Whether a review of an inspection stands, of the reviews that meet the conditions."""
    number = sa.select(sa.func.coalesce(sa.func.sum(_WEIGHT), 0)).where(
        ReviewTable.inspection_id == inspection_id, *conditions
    )
    return number.correlate_except(ReviewTable).scalar_subquery() > 0


def with_standing() -> sa.Select[Any]:
    """Select the ids of the inspections of which a review stands."""
    column = ReviewTable.inspection_id
    return sa.select(column).group_by(column).having(sa.func.sum(_WEIGHT) > 0)
