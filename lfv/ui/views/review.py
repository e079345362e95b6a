"""The review queue: hands out parts, records reviews, shows agreement."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal

from starlette.responses import JSONResponse, RedirectResponse, Response

from lfv.run.lookup import find_run
from lfv.run.verdicts.review import (
    ANSWERS,
    LEASE,
    REVIEWS,
    TAKES_BACK,
    GivenReview,
    claim_parts,
    give_review,
    review_figures,
    reviewed_manifest,
    take_back,
)
from lfv.ui.cards import Card, cards
from lfv.ui.routing import Call, Refused, get, post
from lfv.ui.signing import asks_for_signatures, signed_meaning
from lfv_store import Run, UnknownInspection

_WINDOW = re.compile(r"[A-Za-z0-9_-]{8,64}\Z")
_AT_ONCE = 4
_LONGEST_COMMENT = 4000
_FOUND = (
    *("dust or dirt", "reflection", "blurred", "wrong part"),
    *("scratch", "dent", "crack", "stain", "missing material"),
)
#: The offered reasons by their key. Stored reasons are text, so those of earlier releases stay
#: valid.
REASONS = {
    "n": "no defect (false alarm)",
    **{str(digit): reason for digit, reason in enumerate(_FOUND, start=1)},
}


def queue_page(call: Call) -> Response:
    """Show the review queue, one part at a time."""
    store = call.ui.store
    run = find_run(store, call.query("run")) if call.query("run") else None
    decided = _parse_verdict(call.query("show"), run.run_id if run else None)
    return call.page(
        "review.html",
        title="Review",
        run=run,
        decided=decided,
        again=call.query("again") == "yes",
        second_looks=call.ui.options.second_share > 0,
        latest=_latest(call) if run is None else None,
        reasons=REASONS,
        signatures=asks_for_signatures(call),
        meanings=(REVIEWS, TAKES_BACK),
        single_sign_on=call.ui.accounts.provider is not None,
    )


def _latest(call: Call) -> tuple[Run, int, int] | None:
    """Return the newest run and the numbers of its rejected and accepted parts without a review."""
    store = call.ui.store
    for run in store.runs.list(1):
        left = store.review_leases.unreviewed
        return run, left(run.run_id, "reject"), left(run.run_id, "accept")
    return None


def claim(call: Call) -> Response:
    """Hand out the next parts to a window of this person."""
    store, name = call.ui.store, call.visitor.name
    run_id = call.form.get("run") or None
    decided = _parse_verdict(call.form.get("show", ""), run_id)
    claimed = claim_parts(
        store,
        name,
        _holder(call),
        limit=_AT_ONCE,
        run_id=run_id,
        again=call.form.get("again") == "yes",
        decided=decided,
    )
    total = known = None
    if call.form.get("count") == "yes" and decided and run_id:
        total = store.review_leases.unreviewed(run_id, decided)
        known = store.review_leases.waiting(name, run_id=run_id)[1]
    elif call.form.get("count") == "yes":
        total, known = store.review_leases.waiting(name, run_id=run_id)
    shown = cards(call.ui, [row for _, row in claimed])
    good = _good_parts(call, shown)
    return JSONResponse(
        {
            "parts": [
                _part(card, one.last_review, good.get(card.inspection_id))
                | {"unsure": _unsure(call, card), "also": one.also}
                for (one, _), card in zip(claimed, shown, strict=True)
            ],
            "waiting": total,
            "known": known,
        }
    )


def record(call: Call) -> Response:
    """Record a review; a repeated token denotes the same review.

    Scripts receive JSON, the form on a part's page that page again.
    """
    form = call.form
    number = _number(form.get("inspection", ""))
    answer = form.get("answer", "")
    if answer not in ANSWERS:
        raise Refused("The form has no valid answer; load the page again.")
    comment, reason = form.get("comment", ""), form.get("reason", "")
    if len(comment) > _LONGEST_COMMENT or len(reason) > _LONGEST_COMMENT:
        raise Refused(f"A comment has {_LONGEST_COMMENT} characters at most.")
    store = call.ui.store
    if not call.is_script and store.review_leases.is_second(number, call.visitor.name):
        raise Refused("This part waits for a second look, which the review queue gives you.", 409)
    review = give_review(
        store,
        GivenReview(
            inspection_id=number,
            answer=answer,
            reviewer=call.visitor.name,
            token=call.action_token(),
            seen=_number(form.get("seen", "")),
            holder=_holder(call),
            reason=reason,
            comment=comment,
            overlay=form.get("overlay") != "no",
            compared_with=_number(form["compared"]) if form.get("compared") else None,
            meaning=signed_meaning(call, REVIEWS),
            also=tuple(map(_number, filter(None, form.get("also", "").split(",")))),
        ),
        second_share=call.ui.options.second_share,
    )
    if not call.is_script:
        return RedirectResponse(f"/parts/{number}", 303)
    return JSONResponse({"review": review.review_id, "inspection": review.inspection_id})


def undo(call: Call) -> Response:
    """Undo the last review of a part, and hand the part out again."""
    store, number = call.ui.store, _number(call.form.get("inspection", ""))
    token = call.action_token()
    meaning = signed_meaning(call, TAKES_BACK)
    review = take_back(store, number, call.visitor.name, token, meaning=meaning)
    store.review_leases.take(number, _holder(call), ttl=LEASE)
    (card,) = cards(call.ui, [store.results.get(number)])
    good = _compared_before(call, card) or _good_parts(call, [card]).get(number)
    also = store.review_leases.alike(number)
    found = _part(card, review.review_id, good) | {"unsure": _unsure(call, card), "also": also}
    return JSONResponse({"part": found})


def release(call: Call) -> Response:
    """Release the parts of a window that was closed."""
    call.ui.store.review_leases.release(_holder(call))
    return JSONResponse({})


def agreement(call: Call) -> Response:
    """Show Cohen's kappa between people, and between people and models."""
    return call.page("agreement.html", title="Agreement", figures=review_figures(call.ui.store))


def corrections(call: Call) -> Response:
    """Return the reviewed images as a manifest to train on."""
    run = call.query("run")
    run_id = find_run(call.ui.store, run).run_id if run else None
    lines = b"".join(reviewed_manifest(call.ui.store, run_id))
    headers = {"content-disposition": 'attachment; filename="reviewed.manifest"'}
    return Response(lines, media_type="application/jsonlines", headers=headers)


def _parse_verdict(text: str, run_id: str | None) -> Literal["accept", "reject"] | None:
    """Return which decided parts of a run to review; None for the queue."""
    if text not in ("accept", "reject"):
        return None
    if run_id is None:
        raise Refused("Only the decided parts of one run are reviewed; open it from its run.")
    return "accept" if text == "accept" else "reject"


def _unsure(call: Call, card: Card) -> dict[str, str] | None:
    """Return who was unsure of a part, and why; None for a second look, which is independent."""
    store, number = call.ui.store, card.inspection_id
    if card.row["reviewed_verdict"] != "review":
        return None
    if store.review_leases.is_second(number, call.visitor.name):
        return None
    last = store.reviews.history(number)[-1]
    if last.kind != "review":
        return None
    said = ": ".join(filter(None, (last.reason, last.comment)))
    return {"by": last.reviewer, "said": said}


def _good_parts(call: Call, shown: Sequence[Card]) -> dict[int, Card]:
    """Return a good part of the same model for each of the cards, by inspection."""
    store = call.ui.store
    models = {card.row["model_id"] for card in shown} - {None}
    known = {model: store.gallery.good_parts(model) for model in models}
    chosen: dict[int, int] = {}
    for card in shown:
        number = card.inspection_id
        if good := [one for one in known.get(card.row["model_id"], ()) if one != number]:
            chosen[number] = good[number % len(good)]
    rows = {one: store.results.get(one) for one in set(chosen.values())}
    found = {card.inspection_id: card for card in cards(call.ui, rows.values())}
    return {number: found[one] for number, one in chosen.items()}


def _compared_before(call: Call, card: Card) -> Card | None:
    """Return the part that a part was last compared with, if it still is a good one."""
    store = call.ui.store
    shown = [review.shown for review in store.reviews.history(card.inspection_id) if review.shown]
    number = shown[-1].get("compared_with") if shown else None
    if number is None:
        return None
    try:
        (good,) = cards(call.ui, [store.results.get(number)])
    except UnknownInspection:  # the number is what a client sent
        return None
    fits = good.row["model_id"] == card.row["model_id"] and good.row["is_anomalous"] is False
    return good if fits and good.outcome == "accept" and good.mistake is None else None


def _part(card: Card, seen: int, good: Card | None) -> dict[str, Any]:
    """Return a part for the page, without what others decided on it."""
    row = card.row
    return {
        "inspection": card.inspection_id,
        "seen": seen,
        "name": card.name,
        "source": row["source_ref"],
        "sha256": row["image_sha256"],
        "image": f"/image/{card.inspection_id}",
        "marks": card.full_marks,
        "is_anomalous": row["is_anomalous"],
        "confidence": row["confidence"],
        "verdict": row["verdict"],
        "reasons": card.reasons,
        "anomalies": [
            {"name": one.name, "area": one.area, "color": one.color} for one in card.anomalies
        ],
        "serial": None if card.serial is None else [card.serial[0], str(card.serial[1])],
        "attributes": [[name, str(value)] for name, value in card.attributes],
        "run": row["run_id"],
        "line": row["line_number"],
        "good": good.inspection_id if good else None,
        "good_title": good.title if good else None,
    }


def _holder(call: Call) -> str:
    window = call.form.get("window", "")
    if not _WINDOW.match(window):
        raise Refused("The window has no number; load the page again.")
    return f"{call.visitor.name}/{window}"


def _number(text: str) -> int:
    if not text.isdecimal() or len(text) > 18:
        raise Refused("A number is missing; load the page again.")
    return int(text)


ROUTES = [
    get("/review", queue_page, "reviewer"),
    post("/review/claim", claim, "reviewer"),
    post("/review/record", record, "reviewer"),
    post("/review/undo", undo, "reviewer"),
    post("/review/release", release, "reviewer"),
    get("/review/agreement", agreement),
    get("/review/corrections", corrections),
]
