"""Record what a person decides about an image, and turn reviews into training data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC
from typing import Literal

import orjson

from lfv_store import Review, Store


@dataclass(frozen=True)
class RecordedReview:
    """A review and all reviews of the same inspection, the first one first."""

    review_id: int
    source_ref: str
    history: tuple[Review, ...]


def record_review(
    store: Store,
    run_id: str,
    line_number: int,
    verdict: Literal["accept", "reject"],
    *,
    reviewer: str,
    comment: str = "",
) -> RecordedReview:
    """Record a person's verdict on one line of a run.

    Nothing is overwritten: the model's answer, the policy's verdict and earlier reviews all stay.
    """
    inspection = store.results.line(run_id, line_number)
    review_id = store.reviews.add(inspection["inspection_id"], verdict, reviewer, comment)
    history = tuple(store.reviews.history(inspection["inspection_id"]))
    return RecordedReview(review_id, inspection["source_ref"], history)


def reviewed_manifest(store: Store, run_id: str | None = None) -> Iterator[bytes]:
    """Lines of a Ground Truth manifest, one for each reviewed image of a run, or of all runs.

    Of several reviews of the same bytes the last one counts.
    """
    newest: dict[str, Review] = {}
    for review in store.reviews.latest(run_id=run_id):
        key = review.image_sha256 or review.source_ref
        if key not in newest or newest[key].reviewed_at < review.reviewed_at:
            newest[key] = review
    for review in newest.values():
        yield _line(review)


def _line(review: Review) -> bytes:
    is_anomalous = review.verdict == "reject"
    row = {
        "source-ref": review.source_ref,
        "anomaly-label": int(is_anomalous),
        "anomaly-label-metadata": {
            "class-name": "anomaly" if is_anomalous else "normal",
            "confidence": 1,
            "human-annotated": "yes",
            "job-name": "lfv-review",
            "type": "groundtruth/image-classification",
            "creation-date": f"{review.reviewed_at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}",
        },
        "reviewer": review.reviewer,
        "comment": review.comment,
    }
    return orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)
