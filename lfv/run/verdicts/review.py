"""Records people's reviews, and turns them into training data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, timedelta
from typing import Any, Literal

import orjson

from lfv.formats.agreement import Agreement, cohen_kappa, kappa_of_counts
from lfv.run.signing import content_digest, signature
from lfv_store import GIVEN_ON, ClaimedReview, NewReview, Review, ReviewTaken, Store

#: What the signatures of a review, and of taking one back, mean.
REVIEWS = "I have looked at this part and decide on it"
TAKES_BACK = "I take back my last review of this part"
#: How long an inactive reviewer keeps a part.
LEASE = timedelta(minutes=5)
#: The possible answers of a reviewer, and the verdict each leads to.
ANSWERS: Mapping[str, Literal["accept", "reject", "review"]] = {
    "accept": "accept",
    "reject": "reject",
    "unsure": "review",
}


@dataclass(frozen=True)
class RecordedReview:
    """A review, and all reviews of the same inspection, the oldest first."""

    review_id: int
    source_ref: str
    history: tuple[Review, ...]


@dataclass(frozen=True)
class ReviewFigures:
    """Agreement between people on the same parts, and between people and the models."""

    people: Agreement
    model: Agreement
    by_pair: tuple[tuple[str, str, Agreement], ...]


def record_review(
    store: Store,
    run_id: str,
    line_number: int,
    verdict: Literal["accept", "reject", "review"],
    *,
    reviewer: str,
    comment: str = "",
    is_signed: bool = False,
) -> RecordedReview:
    """Record a person's verdict on one line of a run; `review` leaves it undecided.

    The model's answer, the policy's verdict and earlier reviews are kept. With `is_signed`, the
    reviewer's password was just confirmed.
    """
    inspection = store.results.line(run_id, line_number)
    signed = None
    if is_signed:
        signed = signature(reviewer, REVIEWS, record_digest(inspection, verdict, "", comment))
    new = NewReview(
        inspection["inspection_id"], verdict, reviewer, comment=comment, signature=signed
    )
    review_id = store.reviews.record(new).review_id
    history = tuple(store.reviews.history(inspection["inspection_id"]))
    return RecordedReview(review_id, inspection["source_ref"], history)


def claim_parts(
    store: Store,
    reviewer: str,
    holder: str,
    *,
    limit: int,
    run_id: str | None,
    again: bool = False,
    decided: Literal["accept", "reject"] | None = None,
) -> list[tuple[ClaimedReview, dict[str, Any]]]:
    """Hand out parts for review, each with its inspection.

    With `decided`, parts of a run that the policy accepts or rejects and nobody has reviewed.
    """
    claimed = store.review_leases.claim(
        reviewer, holder, ttl=LEASE, limit=limit, run_id=run_id, again=again, decided=decided
    )
    return [(claim, store.results.get(claim.inspection_id)) for claim in claimed]


@dataclass(frozen=True)
class GivenReview:
    """A reviewer's answer on a part that was handed out, and what the page showed.

    `answer` is accept, reject or unsure. `token` identifies repeated requests, `seen` is the id of
    the last review when the part was handed out, `holder` the browser window that holds it.
    `meaning` is the meaning of a signature; None without one. `also` are the inspections of the
    same picture for which the page said that the review counts too.
    """

    inspection_id: int
    answer: str
    reviewer: str
    token: str
    seen: int
    holder: str
    reason: str = ""
    comment: str = ""
    overlay: bool = True
    compared_with: int | None = None
    meaning: str | None = None
    also: tuple[int, ...] = ()


def give_review(store: Store, given: GivenReview, *, second_share: float = 0.0) -> Review:
    """Record a review of a part that was handed out.

    The queue knows whether it is an independent second review. Each of the inspections in
    `given.also` that has the same picture and answer, and still waits, gets a review of its own,
    which names the part on which it was given.

    Raises:
        ReviewTaken: Another person has the part, or has reviewed it meanwhile.
        UnknownInspection: No inspection has this id.
    """
    row = store.results.get(given.inspection_id)
    also: tuple[int, ...] = ()
    if given.also:
        also = tuple(sorted({*given.also} & {*store.review_leases.alike(given.inspection_id)}))
    second = store.review_leases.is_second(given.inspection_id, given.reviewer)
    shown = _item_facts(row, given, blind=second)
    new = NewReview(
        inspection_id=given.inspection_id,
        verdict=ANSWERS[given.answer],
        reviewer=given.reviewer,
        comment=given.comment,
        reason=given.reason,
        kind="second" if second else "review",
        shown=shown | {"also": list(also)} if also else shown,
        signature=_signature(row, given),
        token=given.token,
        seen=given.seen,
        holder=given.holder,
        second_share=second_share,
    )
    review = store.reviews.record(new)
    for one in also:
        _repeat(store, one, replace(new, kind=review.kind, shown=shown), given)
    return review


def _repeat(store: Store, inspection_id: int, new: NewReview, given: GivenReview) -> None:
    """Record a review for another inspection of the same picture, unless it is taken."""
    history = store.reviews.history(inspection_id)
    with suppress(ReviewTaken):  # then it stays in the queue, or has another's review
        store.reviews.record(
            replace(
                new,
                inspection_id=inspection_id,
                shown={**(new.shown or {}), GIVEN_ON: given.inspection_id},
                signature=_signature(store.results.get(inspection_id), given),
                token=f"{given.token}.{inspection_id}",
                seen=history[-1].review_id if history else 0,
                second_share=0.0,
            )
        )


def _signature(row: Mapping[str, Any], given: GivenReview) -> dict[str, Any] | None:
    if given.meaning is None:
        return None
    digest = record_digest(row, ANSWERS[given.answer], given.reason, given.comment)
    return signature(given.reviewer, given.meaning, digest)


def _item_facts(row: Mapping[str, Any], given: GivenReview, *, blind: bool) -> dict[str, Any]:
    """Return what the reviewer saw, in the form that is stored."""
    return {
        "image_sha256": row["image_sha256"],
        "detection_id": row["detection_id"],
        "is_anomalous": row["is_anomalous"],
        "confidence": row["confidence"],
        "verdict": row["verdict"],
        "overlay": given.overlay,
        "blind": blind,
        "compared_with": given.compared_with,
    }


def record_digest(
    row: Mapping[str, Any],
    verdict: str,
    reason: str,
    comment: str,
    *,
    mask_sha256: str | None = None,
) -> str:
    """Return the SHA-256 (hex) that a signature signs: of the inspection and the review.

    `mask_sha256` is that of a mask that was drawn, which is signed too.
    """
    content = {
        "run_id": row["run_id"],
        "line_number": row["line_number"],
        "image_sha256": row["image_sha256"],
        "detection_id": row["detection_id"],
        "policy_verdict": row["verdict"],
        "verdict": verdict,
        "reason": reason,
        "comment": comment,
    }
    if mask_sha256 is not None:
        content["mask_sha256"] = mask_sha256
    return content_digest(content)


def take_back(
    store: Store, inspection_id: int, reviewer: str, token: str, *, meaning: str | None = None
) -> Review:
    """Undo the last review of an inspection, which must be by `reviewer`.

    The reviews of other inspections of the same picture that it counted for are undone with it.
    `meaning` is the meaning of a signature; None without one.

    Raises:
        ReviewTaken: The last review is another person's, or was undone already.
        UnknownInspection: No inspection has this id.
    """
    also = store.review_leases.reviewed_alike(inspection_id)
    review = _undo(store, inspection_id, reviewer, token, meaning)
    for one in also:
        with suppress(ReviewTaken):  # somebody else has reviewed it since
            _undo(store, one, reviewer, f"{token}.{one}", meaning)
    return review


def _undo(
    store: Store, inspection_id: int, reviewer: str, token: str, meaning: str | None
) -> Review:
    signed = None
    if meaning is not None:
        digest = record_digest(store.results.get(inspection_id), "taken back", "", "")
        signed = signature(reviewer, meaning, digest)
    return store.reviews.undo(inspection_id, reviewer, token, signature=signed)


def review_figures(store: Store) -> ReviewFigures:
    """Compute Cohen's kappa between people, and between people and the models."""
    pairs = store.reviews.pairs()
    by_pair: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for one in pairs:
        names = (one.first_reviewer, one.second_reviewer)
        said = (one.first, one.second)
        if names[0] > names[1]:
            names, said = (names[1], names[0]), (said[1], said[0])
        by_pair.setdefault(names, []).append(said)
    model: Counter[tuple[Any, Any]] = Counter()
    for (is_anomalous, verdict), number in store.reviews.against_the_model().items():
        model["reject" if is_anomalous else "accept", verdict] += number
    return ReviewFigures(
        people=cohen_kappa((pair.first, pair.second) for pair in pairs),
        model=kappa_of_counts(model),
        by_pair=tuple((*names, cohen_kappa(said)) for names, said in sorted(by_pair.items())),
    )


def reviewed_manifest(store: Store, run_id: str | None = None) -> Iterator[bytes]:
    """Yield a Ground Truth manifest line for each reviewed image of a run, or of all runs.

    Of several reviews of the same image the last one counts. Undecided images are left out.
    """
    newest: dict[str, Review] = {}
    for review in store.reviews.latest(run_id=run_id):
        key = review.image_sha256 or review.source_ref
        if key not in newest or newest[key].reviewed_at < review.reviewed_at:
            newest[key] = review
    for review in newest.values():
        if review.verdict != "review":
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
