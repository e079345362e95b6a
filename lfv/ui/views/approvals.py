"""Approves a model version, and withdraws approvals."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from starlette.responses import RedirectResponse, Response

from lfv.formats.host_kinds import BATCH_JOB
from lfv.run.models.approvals import APPROVES, WITHDRAWS, sign_approval
from lfv.run.models.compare import Comparison, compare_versions
from lfv.ui.routing import Call, Refused, post
from lfv.ui.signing import signed_meaning
from lfv_store import Model, RecordConflict

_LONGEST_REASON = 4000


def format_figures(found: Comparison, first: Model, second: Model) -> str:
    """Format the figures of a comparison for a hidden field of the form."""
    return json.dumps(found.facts(first, second), sort_keys=True)


def approve(call: Call) -> Response:
    """Approve a version for its project, and record the comparison that was shown, if any."""
    store, model = call.ui.store, call.ui.store.models.get(call.number("model"))
    if model.key.host == BATCH_JOB:
        raise Refused("A batch job is not a version that inspections can use.")
    reason, comparison, seen = _reason(call), _comparison(call, model), _seen_approval(call)
    signed = signed_approval(call, model, model.key.model_version, reason, comparison)
    try:
        store.approvals.approve(
            model.model_id,
            decided_by=call.visitor.name,
            reason=reason,
            comparison=comparison,
            signature=signed,
            seen=seen,
        )
    except RecordConflict as error:
        raise _conflict(error) from None
    return RedirectResponse(f"/models/{model.model_id}", 303)


def withdraw(call: Call) -> Response:
    """Withdraw the approval of a model's project."""
    store, model = call.ui.store, call.ui.store.models.get(call.number("model"))
    reason, seen = _reason(call), _seen_approval(call)
    signed = signed_approval(call, model, None, reason, None)
    try:
        store.approvals.withdraw(
            model.key.project_name,
            host=model.key.host,
            decided_by=call.visitor.name,
            reason=reason,
            signature=signed,
            seen=seen,
        )
    except RecordConflict as error:
        raise _conflict(error) from None
    return RedirectResponse(f"/models/{model.model_id}", 303)


def signed_approval(
    call: Call,
    model: Model,
    version: str | None,
    reason: str,
    comparison: Mapping[str, Any] | None,
) -> dict[str, Any] | None:
    """Return the signature of an approval, or of a withdrawal if there is no version, or None.

    Raises:
        Refused: The password is wrong.
    """
    if signed_meaning(call, WITHDRAWS if version is None else APPROVES) is None:
        return None
    return sign_approval(call.visitor.name, model, version, reason, comparison)


def _conflict(error: RecordConflict) -> Refused:
    text = str(error)
    return Refused(f"{text[:1].upper()}{text[1:]}. Load the page again.", 409)


def _comparison(call: Call, model: Model) -> dict[str, Any] | None:
    """Compare again; refuse if the figures differ from those that the page showed."""
    names = (call.form.get("first", ""), call.form.get("second", ""))
    if not any(names):
        return None
    if not all(name.isdecimal() and len(name) < 19 for name in names):
        raise Refused("The comparison is not known; load the page again.")
    first, second = (call.ui.store.models.get(int(name)) for name in names)
    if model.model_id not in (first.model_id, second.model_id):
        raise Refused("The version is not one of those that were compared.")
    found = compare_versions(call.ui.store, call.ui.reader, first, second)
    if format_figures(found, first, second) != call.form.get("figures"):
        raise Refused(
            "The figures have changed since the page was loaded: there are new answers or reviews. "
            "Look at the comparison again.",
            409,
        )
    return found.facts(first, second)


def _reason(call: Call) -> str:
    reason = call.form.get("reason", "").strip()
    if not reason:
        raise Refused("Give a reason: it is kept with the decision.")
    if len(reason) > _LONGEST_REASON:
        raise Refused(f"A reason has {_LONGEST_REASON} characters at most.")
    return reason


def _seen_approval(call: Call) -> int:
    seen = call.form.get("seen", "")
    if not seen.isdecimal() or len(seen) > 18:
        raise Refused("A number is missing; load the page again.")
    return int(seen)


ROUTES = [
    post("/models/{model:int}/approve", approve, "engineer"),
    post("/models/{model:int}/withdraw", withdraw, "engineer"),
]
