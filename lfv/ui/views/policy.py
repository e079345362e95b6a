"""The policy playground: other limits on stored answers, without running detection."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

import yaml
from starlette.responses import RedirectResponse, Response

from lfv.client.errors import PolicyError
from lfv.client.policy import Policy
from lfv.report.figures import money, whole
from lfv.run.active import open_reader
from lfv.run.lookup import find_run
from lfv.run.report import report_run
from lfv.run.verdicts.decide import DECIDES, current_decision, redecide
from lfv.run.verdicts.policy_trial import Prices, Trial, try_on_run
from lfv.ui.cards import cards
from lfv.ui.routing import Call, Refused, get, post
from lfv.ui.signing import asks_for_signatures, signed_meaning
from lfv_store import Run

_LONGEST_NAME = 80
_WORDS = {"accept": "accepted", "review": "to review", "reject": "rejected"}


@dataclass(frozen=True)
class Field:
    """A limit that the page has a field for; `value` in percent, `empty` is the meaning of none."""

    name: str
    label: str
    value: str
    empty: str


def playground(call: Call) -> Response:
    """Show the limits of a run's policy, and the verdicts that other limits would give."""
    store, run = call.ui.store, _run(call)
    decision = current_decision(store, run.run_id)
    changed = dict(call.request.query_params)
    message = ""
    types = [kind[0] for kind in store.results.anomaly_types(run.run_id)]
    own = policy = Policy.from_dict(decision.policy)
    try:
        tried = Policy.from_dict(_change(decision.policy, changed))
        if _fields(tried, types) != _fields(own, types):
            # The name of a policy is not that of other limits.
            policy = tried.model_copy(update={"name": ""})
    except PolicyError as error:
        message = str(error)
    prices = Prices(*(_amount(changed.get(name)) for name in ("escape", "false_alarm", "review")))
    trial = try_on_run(store, run.run_id, policy, prices)
    rows = [store.results.get(change.inspection_id) for change in trial.changes]
    return call.page(
        "policy.html",
        title="Other limits",
        run=run,
        decision=decision,
        fields=_fields(policy, types),
        prices=prices,
        trial=trial,
        is_other=policy != own,
        result=_result(trial, prices, is_other=policy != own),
        changes=list(zip(trial.changes, cards(call.ui, rows), strict=True)),
        text=_text(policy),
        message=message,
        signatures=asks_for_signatures(call),
        may_decide=call.visitor.may("engineer"),
    )


def save(call: Call) -> Response:
    """Write the policy to a file of the home folder, for `lfv inspect --policy`."""
    policy = Policy.parse(call.form.get("text", ""))
    name = _name(call)
    file_name = re.sub(r"[^\w.]+", "-", name).strip("-.")
    if not file_name:
        raise Refused("Give the policy a name with letters or digits, by which it is found later.")
    named = policy.model_copy(update={"name": name})
    folder = call.ui.settings.home / "policies"
    file = folder / f"{file_name}.yaml"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with file.open("x", encoding="utf-8") as stream:
            stream.write(_text(named))
    except FileExistsError:
        raise Refused(f"There is a policy {file.name} already; choose another name.", 409) from None
    return call.page("saved.html", title="Policy saved", file=file, name=name, run=_run(call))


def apply(call: Call) -> Response:
    """Decide on a run again by this policy, for a reason."""
    store, run, settings = call.ui.store, _run(call), call.ui.settings
    reason = call.form.get("reason", "").strip()
    if not reason:
        raise Refused("Give a reason for this decision: it is kept with the decision.")
    policy = Policy.parse(call.form.get("text", ""))
    if name := _name(call):
        policy = policy.model_copy(update={"name": name})
    redecide(
        store,
        run.run_id,
        policy,
        decided_by=call.visitor.name,
        reason=reason[:4000],
        meaning=signed_meaning(call, DECIDES),
    )
    if settings.report_path(run.run_id).exists():
        with open_reader(settings) as reader:
            report_run(run.run_id, store, reader, settings)
    return RedirectResponse(f"/runs/{run.run_id}", 303)


def _run(call: Call) -> Run:
    return find_run(call.ui.store, call.request.path_params["run"])


def _name(call: Call) -> str:
    """Return the name that was typed for a policy, which may be empty. Raises Refused."""
    name = call.form.get("name", "").strip()
    if len(name) > _LONGEST_NAME or re.search(r"[/\\\x00-\x1f]", name):
        raise Refused(f"A policy's name has {_LONGEST_NAME} characters at most, and no slash.")
    return name


def _fields(policy: Policy, types: list[str]) -> list[Field]:
    rules = policy.default
    found = rules.coverage.limits if rules.coverage else {}
    reviews_the_rest = policy.reviews_unsure or rules.review.normal_below is not None
    return [
        Field(
            "reject_from",
            "Reject an anomaly if the model is at least this sure",
            _percent(rules.classification.min_confidence if rules.classification else None),
            "never",
        ),
        Field(
            "anomalous_from",
            "Else review an anomaly if it is at least this sure",
            _percent(rules.review.anomalous_from),
            "every other" if reviews_the_rest else "never",
        ),
        Field(
            "normal_below",
            "Review a normal part if the model is less sure than",
            _percent(policy.normal_below(rules)),
            "never",
        ),
        *(
            Field(
                f"area:{name}",
                f"Reject if {name} covers more of the image than",
                _percent(found.get(name)),
                "no limit",
            )
            for name in dict.fromkeys([*found, *types])
        ),
    ]


def _result(trial: Trial, prices: Prices, *, is_other: bool) -> str:
    """Return what the limits would do to the run, in a sentence or two."""
    if not is_other:
        return "These are the limits in force. Change one to see its effect on the run."
    if not trial.changed:
        return f"No verdict would change: all {whole(trial.images)} images stay as they are."
    images = "1 image" if trial.changed == 1 else f"{whole(trial.changed)} images"
    differences = [
        (trial.then.counts.get(verdict, 0) - trial.now.counts.get(verdict, 0), word)
        for verdict, word in _WORDS.items()
    ]
    parts = [
        f"{whole(abs(by))} {'more' if by > 0 else 'fewer'} {word}" for by, word in differences if by
    ]
    balance = ", ".join(parts) or "as many of each as before"
    text = f"{images} of {whole(trial.images)} would change verdict: {balance}."
    if prices:
        by = trial.then.cost - trial.now.cost
        text += (
            f" At your prices, these limits cost {money(abs(by))} {'more' if by > 0 else 'less'}."
            if by
            else " At your prices, both cost the same."
        )
    return text


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
    if not any(default.get(rule) for rule in ("classification", "coverage", "anomaly_types")):
        raise PolicyError(
            "Nothing would be rejected: give a confidence or a share of the image to reject from."
        )
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
