"""The policy playground: other limits on stored answers, without running detection."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from typing import Any

import yaml
from starlette.responses import RedirectResponse, Response

from lfv.client.errors import PolicyError
from lfv.client.policy import Policy
from lfv.run.active import open_reader
from lfv.run.decide import current_decision, redecide
from lfv.run.lookup import find_run
from lfv.run.policy_trial import Prices, try_on_run
from lfv.run.report import report_run
from lfv.ui.cards import cards
from lfv.ui.routing import Call, Refused, get, post
from lfv.ui.signing import asks_for_signatures, signed_meaning
from lfv_store import Run

_MEANING = "I decide on this run by these limits"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,80}\Z")


def playground(call: Call) -> Response:
    """Show the limits of a run's policy, and the verdicts that other limits would give."""
    store, run = call.ui.store, _run(call)
    decision = current_decision(store, run.run_id)
    changed = dict(call.request.query_params)
    message = ""
    policy = Policy.from_dict(decision.policy)
    try:
        policy = Policy.from_dict(_change(decision.policy, changed))
    except PolicyError as error:
        message = str(error)
    prices = Prices(*(_amount(changed.get(name)) for name in ("escape", "false_alarm", "review")))
    trial = try_on_run(store, run.run_id, policy, prices)
    rows = [store.results.get(one.inspection_id) for one in trial.changes]
    types = [one[0] for one in store.pages.anomaly_types(run.run_id)]
    return call.page(
        "policy.html",
        title="Policy",
        run=run,
        decision=decision,
        fields=_fields(policy, types),
        prices=prices,
        trial=trial,
        changes=list(zip(trial.changes, cards(call.ui, rows), strict=True)),
        text=_text(policy),
        message=message,
        signatures=asks_for_signatures(call),
        may_decide=call.visitor.may("engineer"),
    )


def save(call: Call) -> Response:
    """Write the policy to a file of the home folder, for `lfv inspect --policy`."""
    policy = Policy.parse(call.form.get("text", ""))
    name = call.form.get("name", "").strip()
    if not _NAME.match(name) or ".." in name:
        raise Refused("A policy's name may have letters, digits, spaces, dots and dashes.")
    named = policy.model_copy(update={"name": name})
    folder = call.ui.settings.home / "policies"
    file = folder / f"{name.replace(' ', '-')}.yaml"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with file.open("x", encoding="utf-8") as stream:
            stream.write(_text(named))
    except FileExistsError:
        raise Refused(f"There is a policy {file.name} already; choose another name.", 409) from None
    return call.page("saved.html", title="Policy saved", file=file, run=_run(call))


def apply(call: Call) -> Response:
    """Decide on a run again by this policy, for a reason."""
    store, run, settings = call.ui.store, _run(call), call.ui.settings
    reason = call.form.get("reason", "").strip()
    if not reason:
        raise Refused("Say why the run is decided on again: the reason is kept with the decision.")
    policy = Policy.parse(call.form.get("text", ""))
    redecide(
        store,
        run.run_id,
        policy,
        decided_by=call.visitor.name,
        reason=reason[:4000],
        meaning=signed_meaning(call, _MEANING),
    )
    if settings.report_path(run.run_id).exists():
        with open_reader(settings) as reader:
            report_run(run.run_id, store, reader, settings)
    return RedirectResponse(f"/runs/{run.run_id}", 303)


def _run(call: Call) -> Run:
    return find_run(call.ui.store, call.request.path_params["run"])


def _fields(policy: Policy, types: list[str]) -> list[tuple[str, str, str]]:
    """Return the limits with fields on the page: (name, label, value in percent)."""
    rules = policy.default
    normal, anomalous = policy.normal_below(rules), rules.review.anomalous_from
    found = rules.coverage.limits if rules.coverage else {}
    fields: list[tuple[str, str, float | None]] = [
        (
            "reject_from",
            "Reject an anomaly from a confidence of",
            rules.classification.min_confidence if rules.classification else None,
        ),
        (
            "normal_below",
            "Review a normal answer below a confidence of",
            normal,
        ),
        ("anomalous_from", "Review an anomaly from a confidence of", anomalous),
    ]
    fields += [
        (f"area:{name}", f"Reject if {name} covers more of the image than", found.get(name))
        for name in dict.fromkeys([*found, *types])
    ]
    return [(name, label, _percent(value)) for name, label, value in fields]


def _change(policy: dict[str, Any], fields: dict[str, str]) -> dict[str, Any]:
    """Return the policy with the page's limits in its default rules."""
    default = {**policy.get("default", {})}
    if "reject_from" in fields:
        limit = _fraction(fields["reject_from"])
        default["classification"] = None if limit is None else {"min_confidence": limit}
    review = {**(default.get("review") or {})}
    for name in ("normal_below", "anomalous_from"):
        if name in fields:
            review[name] = _fraction(fields[name])
    default["review"] = review
    areas = {
        name.removeprefix("area:"): value
        for name, text in fields.items()
        if name.startswith("area:") and (value := _fraction(text)) is not None
    }
    if any(name.startswith("area:") for name in fields):
        coverage = default.get("coverage") or {}
        default["coverage"] = {**coverage, "limits": areas} if areas else None
    return {**policy, "default": default}


def _percent(fraction: float | None) -> str:
    """Convert a fraction to a percentage without rounding."""
    return "" if fraction is None else format((Decimal(str(fraction)) * 100).normalize(), "f")


def _fraction(text: str) -> float | None:
    """Convert a typed percentage to a fraction."""
    if not text.strip():
        return None
    wrong = PolicyError(f"{text[:40]} is not a percentage between 0 and 100.")
    try:
        percent = Decimal(text.strip().removesuffix("%").strip())
    except InvalidOperation:
        raise wrong from None
    if not percent.is_finite() or not 0 <= percent <= 100:
        raise wrong
    return float(percent / 100)


def _amount(text: str | None) -> float:
    try:
        value = float(text or 0)
    except ValueError:
        return 0.0
    return value if 0 <= value < 1e12 else 0.0


def _text(policy: Policy) -> str:
    content = policy.model_dump(mode="json", exclude_defaults=True) | {"version": policy.version}
    text: str = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    return text


ROUTES = [
    get("/runs/{run}/policy", playground),
    post("/runs/{run}/policy/save", save, "engineer"),
    post("/runs/{run}/policy/apply", apply, "engineer"),
]
