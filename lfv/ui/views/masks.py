"""Drawing the mask of a part with a brush."""

from __future__ import annotations

import base64
import binascii
import json

from starlette.responses import JSONResponse, Response

from lfv.run.pictures import PictureGone
from lfv.run.verdicts.drawn_masks import PALETTE, MaskRefused, record_mask
from lfv.run.verdicts.review import REVIEWS
from lfv.ui.cards import cards
from lfv.ui.routing import Call, NotFound, Refused, get, post
from lfv.ui.signing import asks_for_signatures, signed_meaning
from lfv.ui.views.pictures import KEPT

#: A drawing of 4,096 x 4,096 pixels in a few colours is far smaller.
_MOST_BYTES = 6 * 1024 * 1024


def draw_page(call: Call) -> Response:
    """Show the image with the model's mask, and a brush."""
    store = call.ui.store
    row = store.results.get(call.number("inspection"))
    (card,) = cards(call.ui, [row])
    types = {name: color for name, _, color in store.results.anomaly_types(row["run_id"])}
    marked = {anomaly.name for anomaly in card.anomalies}  # the part's own types come first
    types = dict(sorted(types.items(), key=lambda one: one[0] not in marked))
    free = [color for color in PALETTE if color not in {(c or "").upper() for c in types.values()}]
    named = [(name, color or free.pop(0)) for name, color in types.items() if color or free]
    detection = row["detection_id"]
    found = store.results.annotations([detection]).get(detection) if detection else None
    return call.page(
        "mask.html",
        title=f"Mask of {card.name}",
        card=card,
        types=named or [("anomaly", PALETTE[0])],
        free=free,
        signatures=asks_for_signatures(call),
        seed=f"/mask/{detection}" if found is not None and found.has_mask else "",
    )


def stored_mask(call: Call) -> Response:
    """Return the stored mask of a detection."""
    png = call.ui.store.results.mask(call.number("detection"))
    if png is None or not png.startswith(b"\x89PNG"):
        raise NotFound
    return Response(png, media_type="image/png", headers=KEPT)


def save(call: Call) -> Response:
    """Record a drawn mask as a review."""
    try:
        drawing = base64.b64decode(call.form.get("mask", ""), validate=True)
        types = json.loads(call.form.get("types", ""))
    except (binascii.Error, ValueError, RecursionError):
        raise Refused("The drawing cannot be read.") from None
    if not isinstance(types, dict) or not all(isinstance(name, str) for name in types.values()):
        raise Refused("The anomaly types cannot be read.")
    token = call.action_token()
    try:
        review = record_mask(
            call.ui.store,
            call.ui.pictures,
            call.ui.settings.home / "ui" / "masks",
            call.number("inspection"),
            drawing,
            types,
            reviewer=call.visitor.name,
            comment=call.form.get("comment", "")[:4000],
            token=token,
            meaning=signed_meaning(call, REVIEWS),
        )
    except (MaskRefused, PictureGone) as error:
        raise Refused(str(error)) from error
    return JSONResponse({"review": review.review_id, "verdict": review.verdict})


ROUTES = [
    get("/parts/{inspection:int}/mask", draw_page, "reviewer"),
    get("/mask/{detection:int}", stored_mask),
    post("/parts/{inspection:int}/mask", save, "reviewer", most_bytes=_MOST_BYTES),
]
