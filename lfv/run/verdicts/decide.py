"""Derives new verdicts from a run's stored answers under another policy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lfv.client.policy import Policy, decide
from lfv.formats.answers import DetectAnomalyResult
from lfv.run.inspection_records import reasons_of
from lfv.run.signing import content_digest, signature
from lfv_store import Decision, NewVerdict, Store

#: What the signature of a later decision means.
DECIDES = "I decide on this run by these limits"


@dataclass(frozen=True)
class VerdictChange:
    """The number of inspections that changed from one verdict to another, or kept it."""

    before: str
    after: str
    inspections: int


@dataclass(frozen=True)
class Redecision:
    """The effect of another policy on a run; `decision` is None if nothing was stored."""

    run_id: str
    changes: tuple[VerdictChange, ...]
    decision: Decision | None

    @property
    def changed(self) -> int:
        """The number of inspections whose verdict changed."""
        return sum(change.inspections for change in self.changes if change.before != change.after)


def redecide(
    store: Store,
    run_id: str,
    policy: Policy,
    *,
    decided_by: str,
    reason: str = "",
    meaning: str | None = None,
    dry_run: bool = False,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Redecision:
    """Decide again on every stored answer of a run, without the model.

    The new verdicts become current; the old ones and their policy are kept. Lines that could
    not be inspected do not change. `meaning` is the meaning of a signature. `progress` is called
    with inspections done and their total.
    """
    changes: Counter[tuple[str, str]] = Counter()
    verdicts = _verdicts(store, run_id, policy, changes, progress)
    decision = None
    if dry_run:
        for _ in verdicts:
            pass
    else:
        content, signed = policy.to_dict(), None
        if meaning is not None:
            signed = signature(decided_by, meaning, decision_digest(run_id, content, reason))
        decision = store.verdicts.add(
            run_id, content, verdicts, decided_by=decided_by, reason=reason, signature=signed
        )
    return Redecision(
        run_id=run_id,
        changes=tuple(VerdictChange(*pair, number) for pair, number in sorted(changes.items())),
        decision=decision,
    )


def decision_digest(run_id: str, policy: Mapping[str, Any], reason: str) -> str:
    """Return the SHA-256 (hex) that the signature of a later decision signs."""
    return content_digest({"run_id": run_id, "policy": policy, "reason": reason})


def current_decision(store: Store, run_id: str) -> Decision:
    """Return the decision that gave the run's current verdicts."""
    return next(decision for decision in store.verdicts.decisions(run_id) if decision.current)


def extend_decision(store: Store, run_id: str) -> None:
    """Apply the run's current policy to the lines that were inspected after it was decided on.

    A run judges by its first policy. If somebody has decided by another one meanwhile, or before
    the run was resumed, a further decision gives all lines the verdicts of that policy.
    """
    current = current_decision(store, run_id)
    if current.number == 1 or current.verdicts == _judged(store, run_id):
        return
    policy = Policy.from_dict(current.policy)
    why = f"decision {current.number} by {current.decided_by}, on the lines inspected since"
    redecide(store, run_id, policy, decided_by="lfv", reason=why)


def _judged(store: Store, run_id: str) -> int:
    counts = store.inspections.counts(run_id)
    return counts.accepted + counts.rejected + counts.review


def _verdicts(
    store: Store,
    run_id: str,
    policy: Policy,
    changes: Counter[tuple[str, str]],
    progress: Callable[[int, int], None],
) -> Iterator[NewVerdict]:
    """Yield the verdict of `policy` on every answer of the run, counting into `changes`."""
    total = store.inspections.counts(run_id).inspected
    for done, candidate in enumerate(store.verdicts.candidates(run_id), start=1):
        result = DetectAnomalyResult.from_response(candidate.response)
        verdict = decide(result, policy, candidate.attributes)
        changes[candidate.verdict, verdict.verdict.value] += 1
        progress(done, total)
        yield NewVerdict(
            inspection_id=candidate.inspection_id,
            verdict=verdict.verdict.value,
            reasons=reasons_of(verdict),
        )
