"""Parts in all runs, and the details of one inspection."""

from __future__ import annotations

from starlette.responses import Response

from lfv.ui.accounts import new_token
from lfv.ui.cards import cards
from lfv.ui.routing import Call, get
from lfv.ui.views.review import REASONS, asks_for_signatures


def find_parts(call: Call) -> Response:
    """Inspections of a serial number, an image or a file name."""
    text = call.query("q").strip()[:1000]
    found = call.ui.store.pages.find(text, limit=100) if text else []
    return call.page("parts.html", title="Parts", text=text, cards=cards(call.ui, found))


def show_part(call: Call) -> Response:
    """One inspection: picture, answer, verdicts, reviews, and others of the same image."""
    store = call.ui.store
    number = call.number("inspection")
    row = store.results.get(number)
    (card,) = cards(call.ui, [row])
    reviews = store.reviews.history(number)
    others = store.pages.of_image(row["image_sha256"]) if row["image_sha256"] else []
    return call.page(
        "part.html",
        title=card.name,
        card=card,
        row=row,
        verdicts=store.verdicts.history(number) if row["verdict"] else [],
        reviews=reviews,
        seen=reviews[-1].review_id if reviews else 0,
        token=new_token(),
        second=call.visitor.may("reviewer")
        and store.review_leases.is_second(number, call.visitor.name),
        signatures=asks_for_signatures(call),
        reasons=REASONS,
        others=[one for one in others if one["inspection_id"] != number],
    )


ROUTES = [get("/parts", find_parts), get("/parts/{inspection:int}", show_part)]
