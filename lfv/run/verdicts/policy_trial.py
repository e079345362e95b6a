"""Tries a policy on the stored answers of a run: the resulting verdicts and their cost.

Stores nothing. The truth about a part is its last review, else its label in the manifest.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lfv.client.policy import Policy, decide
from lfv.formats.answers import DetectAnomalyResult
from lfv_store import Store

#: Maximum number of named images whose verdict changes.
MOST_CHANGES = 60
#: A run with more answers is tried on a sample of about this size, which takes a few seconds.
MOST_ANSWERS = 100_000


@dataclass(frozen=True)
class Prices:
    """The cost of each kind of mistake and of a review, in US dollars."""

    escape: float = 0.0
    false_alarm: float = 0.0
    review: float = 0.0

    def __bool__(self) -> bool:
        """Whether any of them has a price."""
        return bool(self.escape or self.false_alarm or self.review)


@dataclass(frozen=True)
class TriedAnswer:
    """A stored answer; `verdict` is by the run's policy, `is_defective` None if unknown.

    `reviewed` is the verdict of its last review, None without one.
    """

    inspection_id: int
    line_number: int
    result: DetectAnomalyResult
    attributes: Mapping[str, Any]
    verdict: str
    is_defective: bool | None
    reviewed: str | None = None


@dataclass(frozen=True)
class Figures:
    """Counts of a policy's verdicts, and of mistakes among parts whose truth is known."""

    counts: Mapping[str, int]
    escapes: int
    false_alarms: int
    cost: float

    def scaled(self, by: float) -> Figures:
        """Return the figures for `factor` times as many parts."""
        return Figures(
            {verdict: round(number * by) for verdict, number in self.counts.items()},
            round(self.escapes * by),
            round(self.false_alarms * by),
            self.cost * by,
        )


@dataclass(frozen=True)
class ChangedVerdict:
    """A part whose verdict changes."""

    inspection_id: int
    line_number: int
    before: str
    after: str


@dataclass(frozen=True)
class Trial:
    """A policy tried on a run; `known` parts have a truth, `changes` are the first of `changed`.

    `now` is by the limits in force, `then` by those that are tried; `final_now` and `final_then`
    include the reviews of `reviewed` parts, which override any limits. Of a long run, `sampled`
    answers were tried, and all numbers are scaled up to the whole of it; None if all were.
    """

    now: Figures
    then: Figures
    final_now: Figures
    final_then: Figures
    images: int
    known: int
    reviewed: int
    changed: int
    changes: tuple[ChangedVerdict, ...]
    sampled: int | None = None

    @property
    def margin(self) -> float:
        """How far a sampled number may be off, as a share of all images, 19 times in 20."""
        return 0.98 / math.sqrt(self.sampled) if self.sampled else 0.0


def stored_answers(store: Store, run_id: str, *, share: float = 1.0) -> tuple[TriedAnswer, ...]:
    """Return every answer of a run, or a sample, to try policies on."""
    reviewed = {one.inspection_id: one.verdict for one in store.reviews.latest(run_id=run_id)}
    return tuple(
        TriedAnswer(
            inspection_id=one.inspection_id,
            line_number=one.line_number,
            result=DetectAnomalyResult.from_response(one.response),
            attributes=one.attributes,
            verdict=one.verdict,
            is_defective=_truth(reviewed.get(one.inspection_id), one.expected_is_anomalous),
            reviewed=reviewed.get(one.inspection_id),
        )
        for one in store.verdicts.candidates(run_id, share=share)
    )


def _truth(reviewed: str | None, label: bool | None) -> bool | None:
    return label if reviewed in (None, "review") else reviewed == "reject"


def try_on_run(store: Store, run_id: str, policy: Policy, prices: Prices) -> Trial:
    """Decide on the answers of a run by `policy`; of a long run, on a sample of them."""
    judged = store.inspections.counts(run_id).judged
    if judged <= MOST_ANSWERS:
        return try_policy(stored_answers(store, run_id), policy, prices)
    answers = stored_answers(store, run_id, share=MOST_ANSWERS / judged)
    tried = try_policy(answers, policy, prices)
    if not answers:
        return tried
    by = judged / len(answers)
    return replace(
        tried,
        now=tried.now.scaled(by),
        then=tried.then.scaled(by),
        final_now=tried.final_now.scaled(by),
        final_then=tried.final_then.scaled(by),
        images=judged,
        known=round(tried.known * by),
        reviewed=round(tried.reviewed * by),
        changed=round(tried.changed * by),
        sampled=len(answers),
    )


def try_policy(answers: Sequence[TriedAnswer], policy: Policy, prices: Prices) -> Trial:
    """Decide on all answers by `policy`."""
    after = [decide(one.result, policy, one.attributes).verdict.value for one in answers]
    changes = [
        ChangedVerdict(one.inspection_id, one.line_number, one.verdict, verdict)
        for one, verdict in zip(answers, after, strict=True)
        if one.verdict != verdict
    ]
    return Trial(
        now=_figures(answers, [one.verdict for one in answers], prices),
        then=_figures(answers, after, prices),
        final_now=_figures(answers, [one.reviewed or one.verdict for one in answers], prices),
        final_then=_figures(
            answers,
            [one.reviewed or verdict for one, verdict in zip(answers, after, strict=True)],
            prices,
        ),
        images=len(answers),
        known=sum(one.is_defective is not None for one in answers),
        reviewed=sum(answer.reviewed is not None for answer in answers),
        changed=len(changes),
        changes=tuple(changes[:MOST_CHANGES]),
    )


def _figures(answers: Sequence[TriedAnswer], verdicts: Sequence[str], prices: Prices) -> Figures:
    counts = Counter(verdicts)
    escapes = false_alarms = 0
    for one, verdict in zip(answers, verdicts, strict=True):
        escapes += verdict == "accept" and one.is_defective is True
        false_alarms += verdict == "reject" and one.is_defective is False
    cost = (
        escapes * prices.escape
        + false_alarms * prices.false_alarm
        + counts["review"] * prices.review
    )
    return Figures(counts, escapes, false_alarms, cost)
