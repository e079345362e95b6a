"""Parts in all runs, and the details of one inspection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from starlette.responses import Response

from lfv.ui.accounts import new_token
from lfv.ui.cards import cards
from lfv.ui.routing import Call, get
from lfv.ui.signing import asks_for_signatures
from lfv.ui.views.review import REASONS
from lfv_store import Review
from lfv_store.reviewing.effective_reviews import effective_reviews

_WORDS = {"accept": "accepted", "reject": "rejected", "review": "to review"}


def find_parts(call: Call) -> Response:
    """Show the inspections of a serial number, an image or a file name."""
    text = call.query("q").strip()[:1000]
    found = call.ui.store.part_search.find(text, limit=100) if text else []
    return call.page("parts.html", title="Parts", text=text, cards=cards(call.ui, found))


def show_part(call: Call) -> Response:
    """Show one inspection: picture, answer, verdicts, reviews, and others of the same image."""
    store = call.ui.store
    number = call.number("inspection")
    row = store.results.get(number)
    (card,) = cards(call.ui, [row])
    reviews = store.reviews.history(number)
    in_effect = effective_reviews(reviews)
    others = store.part_search.of_image(row["image_sha256"]) if row["image_sha256"] else []
    return call.page(
        "part.html",
        title=card.name,
        card=card,
        row=row,
        verdicts=store.verdicts.history(number) if row["verdict"] else [],
        now=_now(row, reviews),
        reviews=reviews,
        in_effect={review.review_id for review in in_effect},
        counts=in_effect[-1].review_id if in_effect else None,
        seen=reviews[-1].review_id if reviews else 0,
        token=new_token(),
        second=call.visitor.may("reviewer")
        and store.review_leases.is_second(number, call.visitor.name),
        signatures=asks_for_signatures(call),
        reasons=REASONS.values(),
        others=[other for other in others if other["inspection_id"] != number],
    )


def _now(row: Mapping[str, Any], reviews: Sequence[Review]) -> str | None:
    """Describe the verdict after the last review; None without reviews."""
    if not reviews or not row["verdict"]:
        return None
    last = reviews[-1]
    stands = _WORDS.get(last.verdict, last.verdict)
    if last.kind == "conflict":
        return f"{stands}, because two people disagree"
    if last.kind == "undo":
        return f"{stands}; {last.reviewer} took the last review back"
    if last.verdict == "review":
        return f"{stands}, because {last.reviewer} is unsure"
    if row["verdict"] == "review":
        return f"{stands} by {last.reviewer}"
    if last.verdict == row["verdict"]:
        return f"{stands} by {last.reviewer} (as by the limits)"
    return f"{stands} by {last.reviewer} (overrides the limits)"


ROUTES = [get("/parts", find_parts), get("/parts/{inspection:int}", show_part)]
