"""Apply a policy to an answer. Deterministic; every verdict has a reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from lfv.client.policy.rules import ANY_TYPE, Policy, Rules
from lfv.formats.answers import DetectAnomalyResult
from lfv.formats.words import count_of


class VerdictKind(StrEnum):
    ACCEPT = "accept"
    REVIEW = "review"
    REJECT = "reject"


@dataclass(frozen=True)
class Reason:
    """One reason for a verdict: the rule's name, a sentence, and the figures compared.

    `rule` is one of 'classification', 'coverage', 'anomaly_types', 'review.normal_below',
    'review.anomalous_from', 'review.disagreement', 'no_segmentation', 'unknown_class', 'no_rule'.
    """

    rule: str
    text: str
    figures: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return {"rule": self.rule, "text": self.text, "figures": dict(self.figures)}


@dataclass(frozen=True)
class Verdict:
    verdict: VerdictKind
    reasons: tuple[Reason, ...]


def decide(
    result: DetectAnomalyResult, policy: Policy, attributes: Mapping[str, Any] | None = None
) -> Verdict:
    """Return the verdict on an answer; `attributes` are those of the item's manifest line."""
    rules = policy.rules_for(attributes or {})
    if rules is None:
        reason = Reason(
            "unknown_class",
            "The policy has no rules for the item's class, and requires a review in this case.",
            {"class_attribute": policy.class_attribute},
        )
        return Verdict(VerdictKind.REVIEW, (reason,))
    if result.is_anomalous:
        kind, reasons = _decide_anomalous(result, rules, reviews_unsure=policy.reviews_unsure)
    else:
        kind, reasons = _decide_normal(result, rules, policy.normal_below(rules))
    return Verdict(kind, tuple(reasons))


def _decide_anomalous(
    result: DetectAnomalyResult, rules: Rules, *, reviews_unsure: bool
) -> tuple[VerdictKind, list[Reason]]:
    fired, held, missing = _apply(result, rules)
    if _is_rejected(rules, fired, held, missing):
        return VerdictKind.REJECT, fired
    confidence = result.confidence
    reviews = list(missing)
    band = rules.review.from_anomalous
    if band is not None and confidence >= band:
        reviews.append(
            Reason(
                "review.anomalous_from",
                f"Anomalous with confidence {_percent(confidence, band)}, not rejected, and at "
                f"least {_percent(band, confidence)}.",
                {"is_anomalous": True, "confidence": confidence, "anomalous_from": band},
            )
        )
    unsure = reviews_unsure and band is None and not _is_tolerated(result, rules)
    if reviews or unsure:
        return VerdictKind.REVIEW, reviews + fired + held
    return VerdictKind.ACCEPT, fired + held


def _is_rejected(
    rules: Rules, fired: list[Reason], held: list[Reason], missing: list[Reason]
) -> bool:
    return bool(fired) and (rules.combine == "any" or not (held or missing))


def _is_tolerated(result: DetectAnomalyResult, rules: Rules) -> bool:
    """Return whether an anomalous answer would pass the rules even with confidence 1."""
    fired, held, missing = _apply(replace(result, confidence=1.0), rules)
    return not missing and not _is_rejected(rules, fired, held, missing)


def _decide_normal(
    result: DetectAnomalyResult, rules: Rules, limit: float | None
) -> tuple[VerdictKind, list[Reason]]:
    confidence = result.confidence
    figures: dict[str, Any] = {"is_anomalous": False, "confidence": confidence}
    reviews = []
    if limit is not None and confidence < limit:
        reviews.append(
            Reason(
                "review.normal_below",
                f"Normal with confidence {_percent(confidence, limit)} only, below "
                f"{_percent(limit, confidence)}.",
                figures | {"normal_below": limit},
            )
        )
    if rules.review.disagreement:
        broken = [*_coverage_reasons(result, rules), *_count_reasons(result, rules)]
        reviews += [
            Reason(
                "review.disagreement",
                f"Classified as normal, but segmented otherwise: {reason.text}",
                reason.figures,
            )
            for reason in broken
        ]
    if reviews:
        return VerdictKind.REVIEW, reviews
    reason = Reason("no_rule", f"Normal with confidence {_percent(confidence)}.", figures)
    return VerdictKind.ACCEPT, [reason]


def _apply(
    result: DetectAnomalyResult, rules: Rules
) -> tuple[list[Reason], list[Reason], list[Reason]]:
    """Return the rules that reject, those that pass, and those that need a segmentation."""
    fired: list[Reason] = []
    held: list[Reason] = []
    missing: list[Reason] = []
    confidence = result.confidence
    if rules.classification is not None:
        limit = rules.classification.min_confidence
        figures = {"is_anomalous": True, "confidence": confidence, "min_confidence": limit}
        said = f"Anomalous with confidence {_percent(confidence, limit)}"
        asked = _percent(limit, confidence)
        if confidence >= limit:
            fired.append(Reason("classification", f"{said}, at least {asked}.", figures))
        else:
            held.append(Reason("classification", f"{said} only, below {asked}.", figures))
    for name, rule, broken, whole in (
        (
            "coverage",
            rules.coverage,
            _coverage_reasons(result, rules),
            "No anomaly type is too large.",
        ),
        (
            "anomaly_types",
            rules.anomaly_types,
            _count_reasons(result, rules),
            "Not too many types.",
        ),
    ):
        if rule is None:
            continue
        figures = {"confidence": confidence, "min_confidence": rule.min_confidence}
        if confidence < rule.min_confidence:
            text = (
                f"Not applied: confidence {_percent(confidence, rule.min_confidence)} is below "
                f"{_percent(rule.min_confidence, confidence)}."
            )
            held.append(Reason(name, text, figures))
        elif not result.is_segmentation:
            text = f"The rule {name} needs a segmentation, and the answer has none."
            missing.append(Reason("no_segmentation", text, {"rule": name}))
        elif broken:
            fired += broken
        else:
            held.append(Reason(name, whole, figures | _facts(result)))
    return fired, held, missing


def _coverage_reasons(result: DetectAnomalyResult, rules: Rules) -> list[Reason]:
    rule = rules.coverage
    if rule is None:
        return []
    reasons = []
    for found in result.defects:
        limit = rule.limit_for(found.name)
        area = found.total_percentage_area
        if limit is not None and area > limit:
            reasons.append(
                Reason(
                    "coverage",
                    f"{found.name} covers {_percent(area, limit)} of the image, "
                    f"more than {_percent(limit, area)}.",
                    {
                        "confidence": result.confidence,
                        "min_confidence": rule.min_confidence,
                        "anomaly_type": found.name,
                        "total_percentage_area": area,
                        "limit": limit,
                        "limit_of": found.name if found.name in rule.limits else ANY_TYPE,
                    },
                )
            )
    return reasons


def _count_reasons(result: DetectAnomalyResult, rules: Rules) -> list[Reason]:
    rule = rules.anomaly_types
    types = [found.name for found in result.defects]
    if rule is None or len(types) <= rule.max_types:
        return []
    return [
        Reason(
            "anomaly_types",
            f"{count_of(len(types), 'anomaly type')} ({', '.join(types)}), more than "
            f"{rule.max_types}.",
            {
                "confidence": result.confidence,
                "min_confidence": rule.min_confidence,
                "anomaly_types": types,
                "max_types": rule.max_types,
            },
        )
    ]


def _facts(result: DetectAnomalyResult) -> dict[str, Any]:
    return {"found": {found.name: found.total_percentage_area for found in result.defects}}


def _percent(fraction: float, other: float | None = None) -> str:
    """Format a percentage with one decimal, or with enough to differ from `other`.

    `Reason.figures` has the exact values.
    """
    for decimals in range(1, 15):
        shown = _round(fraction, decimals)
        if other is None or fraction == other or shown != _round(other, decimals):
            return f"{shown}%"
    return f"{fraction * 100!r}%"


def _round(fraction: float, decimals: int) -> str:
    return f"{fraction * 100:.{decimals}f}".rstrip("0").rstrip(".")
