"""Reviews."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, get_args

from lfv_store.records.base import JsonObject, VerdictName

ReviewKind = Literal[
    "review",
    "second",  # by another person, who did not see the first review
    "undo",  # the reviewer withdrew the last review
    "conflict",  # two reviewers disagree, so the part waits for a third
]
REVIEW_KINDS: tuple[ReviewKind, ...] = get_args(ReviewKind)


@dataclass(frozen=True, slots=True)
class QueuedReview:
    """An inspection that waits for a person."""

    inspection_id: int
    run_id: str
    line_number: int
    source_ref: str
    image_sha256: str
    project_name: str
    model_version: str
    is_anomalous: bool
    confidence: float
    reasons: list[dict[str, Any]]
    attributes: dict[str, Any]
    inspected_at: datetime


@dataclass(frozen=True, slots=True)
class Review:
    """A person's verdict on an inspection."""

    review_id: int
    inspection_id: int
    run_id: str
    source_ref: str
    image_sha256: str | None
    verdict: VerdictName
    reviewer: str
    comment: str
    reviewed_at: datetime
    kind: ReviewKind = "review"
    reason: str = ""
    shown: dict[str, Any] | None = None
    signature: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class NewReview:
    """A review to record.

    `kind` is `review` or `second`. The verdict `review` leaves the part undecided ("unsure").
    The caller chooses `token`; a repeated token denotes the same review. `seen` is the id of the
    last review that the reviewer was shown (0: none); None skips this check. `holder` is the window
    that holds the part. `second_share` is the probability, 0 to 1, that another person is to
    review the part too.
    """

    inspection_id: int
    verdict: VerdictName
    reviewer: str
    comment: str = ""
    reason: str = ""
    kind: ReviewKind = "review"
    shown: JsonObject | None = None
    signature: JsonObject | None = None
    token: str | None = None
    seen: int | None = None
    holder: str | None = None
    second_share: float = 0.0


@dataclass(frozen=True, slots=True)
class ReviewPair:
    """Two independent reviews of the same part."""

    inspection_id: int
    first: VerdictName
    second: VerdictName
    first_reviewer: str
    second_reviewer: str


@dataclass(frozen=True, slots=True)
class ClaimedReview:
    """A part held for review until `expires_at`; `last_review` is the id of its last review.

    `also` are the inspections of other runs for which the review will count too: they wait for a
    review of the same picture with the same answer.
    """

    inspection_id: int
    kind: ReviewKind
    last_review: int
    expires_at: datetime
    also: tuple[int, ...] = ()
