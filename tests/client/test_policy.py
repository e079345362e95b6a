"""Verdicts: exact at their limits, and monotonic."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lfv.client.policy import Policy, Verdict, VerdictKind, decide
from lfv.formats.answers import Anomaly, DetectAnomalyResult

ACCEPT, REVIEW, REJECT = VerdictKind.ACCEPT, VerdictKind.REVIEW, VerdictKind.REJECT


SEVERITY = {ACCEPT: 0, REVIEW: 1, REJECT: 2}


def answer(is_anomalous: bool, confidence: float, **areas: float) -> DetectAnomalyResult:
    """A classification; with areas, a segmentation."""
    anomalies = None
    if areas:
        found = [Anomaly(name, area, "#000000") for name, area in areas.items()]
        anomalies = (Anomaly("background", 0.5, "#FFFFFF"), *found)
    return DetectAnomalyResult(is_anomalous, confidence, anomalies)


def policy(**default: Any) -> Policy:
    return Policy.from_dict({"default": default})


def verdict(result: DetectAnomalyResult, **default: Any) -> VerdictKind:
    return decide(result, policy(**default)).verdict


@pytest.mark.parametrize(
    ("is_anomalous", "confidence", "expected"),
    [
        (True, 0.8, REJECT),
        (True, 0.7999999999, REVIEW),
        (True, 1.0, REJECT),
        (True, 0.0, REVIEW),
        (False, 1.0, ACCEPT),
        (False, 0.8, ACCEPT),
        (False, 0.7999999999, REVIEW),
        (False, 0.0, REVIEW),
    ],
)
def test_confidence_of_the_command_line(
    is_anomalous: bool, confidence: float, expected: VerdictKind
) -> None:
    assert decide(answer(is_anomalous, confidence), Policy.from_confidence(0.8)).verdict == expected


@pytest.mark.parametrize(
    ("areas", "expected"),
    [
        ({"crack": 0.01}, ACCEPT),
        ({"crack": 0.0100001}, REJECT),
        ({"dent": 0.9}, ACCEPT),
        ({"crack": 0.0, "dent": 0.9}, ACCEPT),
    ],
)
def test_coverage(areas: dict[str, float], expected: VerdictKind) -> None:
    assert verdict(answer(True, 0.9, **areas), coverage={"limits": {"crack": 0.01}}) is expected


def test_coverage_of_every_other_type() -> None:
    rule = {"limits": {"crack": 0.2, "*": 0.01}}
    assert verdict(answer(True, 0.9, crack=0.15), coverage=rule) is ACCEPT
    assert verdict(answer(True, 0.9, dent=0.15), coverage=rule) is REJECT
    given = decide(answer(True, 0.9, dent=0.15), policy(coverage=rule)).reasons[0].figures
    assert (given["anomaly_type"], given["limit_of"], given["limit"]) == ("dent", "*", 0.01)


def test_a_coverage_rule_applies_from_its_min_confidence_on() -> None:
    rule = {"limits": {"crack": 0.0}, "min_confidence": 0.6}
    assert verdict(answer(True, 0.6, crack=0.1), coverage=rule) is REJECT
    assert verdict(answer(True, 0.59, crack=0.1), coverage=rule) is REVIEW
    assert verdict(answer(True, 0.59, crack=0.0), coverage=rule) is ACCEPT
    assert verdict(answer(True, 0.59), coverage=rule) is REVIEW
    assert verdict(answer(False, 0.99, crack=0.1), coverage=rule) is ACCEPT


@pytest.mark.parametrize(("types", "expected"), [(2, ACCEPT), (3, REJECT), (0, ACCEPT)])
def test_number_of_types(types: int, expected: VerdictKind) -> None:
    areas = {f"type{n}": 0.01 for n in range(types)} or {"background2": 0.1}
    assert verdict(answer(True, 0.9, **areas), anomaly_types={"max_types": 2}) is expected


def test_background_is_not_a_type() -> None:
    only = DetectAnomalyResult(True, 0.9, (Anomaly("background", 1.0, "#FFFFFF"),))
    assert verdict(only, anomaly_types={"max_types": 0}, coverage={"limits": {"*": 0.0}}) is ACCEPT


def test_any_and_all() -> None:
    rules: dict[str, Any] = {
        "classification": {"min_confidence": 0.8},
        "coverage": {"limits": {"*": 0.01}},
    }
    only_one = answer(True, 0.9, crack=0.005)
    assert verdict(only_one, **rules) is REJECT
    assert verdict(only_one, **rules, combine="all") is ACCEPT
    assert verdict(answer(True, 0.9, crack=0.02), **rules, combine="all") is REJECT


def test_a_rule_that_cannot_be_applied_leads_to_review() -> None:
    """A segmentation policy on a classification model must not accept everything."""
    rules: dict[str, Any] = {"coverage": {"limits": {"*": 0.01}}}
    found = decide(answer(True, 0.9), policy(**rules))
    assert found.verdict is REVIEW
    assert found.reasons[0].rule == "no_segmentation"
    assert verdict(answer(False, 0.9), **rules) is ACCEPT
    both = rules | {"classification": {"min_confidence": 0.8}}
    assert verdict(answer(True, 0.9), **both) is REJECT
    assert verdict(answer(True, 0.9), **both, combine="all") is REVIEW


@pytest.mark.parametrize(
    ("is_anomalous", "confidence", "expected"),
    [
        (False, 0.7, ACCEPT),
        (False, 0.6999, REVIEW),
        (True, 0.0, REVIEW),
        (True, 0.5, REVIEW),
        (True, 0.8999, REVIEW),
        (True, 0.9, REJECT),
    ],
)
def test_review_band(is_anomalous: bool, confidence: float, expected: VerdictKind) -> None:
    rules: dict[str, Any] = {
        "classification": {"min_confidence": 0.9},
        "review": {"normal_below": 0.7},
    }
    assert verdict(answer(is_anomalous, confidence), **rules) is expected


def test_review_of_anomalous_answers_from_a_confidence_on() -> None:
    rules: dict[str, Any] = {
        "classification": {"min_confidence": 0.9},
        "review": {"normal_below": 0.7, "anomalous_from": 0.6},
    }
    assert verdict(answer(True, 0.6), **rules) is REVIEW
    assert verdict(answer(True, 0.5999), **rules) is ACCEPT


def test_disagreement() -> None:
    rules: dict[str, Any] = {
        "classification": {"min_confidence": 0.9},
        "coverage": {"limits": {"crack": 0.01}},
        "anomaly_types": {"max_types": 0},
    }
    quiet = answer(False, 0.99, crack=0.3)
    assert verdict(quiet, **rules) is ACCEPT
    told = decide(quiet, policy(**rules, review={"disagreement": True}))
    assert told.verdict is REVIEW
    assert [reason.rule for reason in told.reasons] == ["review.disagreement"] * 2
    agreeing = answer(False, 0.99)
    assert verdict(agreeing, **rules, review={"disagreement": True}) is ACCEPT


BY_CLASS = Policy.from_dict(
    {
        "class_attribute": "product",
        "default": {"classification": {"min_confidence": 0.9}},
        "classes": {
            "premium": {"classification": {"min_confidence": 0.5}},
            "7": {"classification": {"min_confidence": 0.6}},
            "true": {"classification": {"min_confidence": 0.7}},
        },
    }
)


@pytest.mark.parametrize(
    ("attributes", "limit"),
    [
        ({"product": "premium"}, 0.5),
        ({"product": 7}, 0.6),
        ({"product": True}, 0.7),
        ({"product": "Premium"}, 0.9),
        ({"product": None}, 0.9),
        ({"product": ["premium"]}, 0.9),
        ({"product": {"name": "premium"}}, 0.9),
        ({}, 0.9),
    ],
)
def test_classes(attributes: dict[str, Any], limit: float) -> None:
    assert decide(answer(True, limit), BY_CLASS, attributes).verdict is REJECT
    assert decide(answer(True, limit - 0.01), BY_CLASS, attributes).verdict is REVIEW


def test_unknown_classes_may_be_reviewed() -> None:
    strict = Policy.from_dict(BY_CLASS.to_dict() | {"unknown_class": "review"})
    found = decide(answer(False, 1.0), strict, {"product": "new"})
    assert found.verdict is REVIEW
    assert found.reasons[0].rule == "unknown_class"
    assert decide(answer(False, 1.0), strict, {"product": "premium"}).verdict is ACCEPT


def test_reasons_name_rules_and_figures() -> None:
    found = decide(
        answer(True, 0.93, crack=0.02),
        policy(classification={"min_confidence": 0.8}, coverage={"limits": {"crack": 0.01}}),
    )
    assert [reason.to_dict() for reason in found.reasons] == [
        {
            "rule": "classification",
            "text": "Anomalous with confidence 93%, at least 80%.",
            "figures": {"is_anomalous": True, "confidence": 0.93, "min_confidence": 0.8},
        },
        {
            "rule": "coverage",
            "text": "crack covers 2% of the image, more than 1%.",
            "figures": {
                "confidence": 0.93,
                "min_confidence": 0.0,
                "anomaly_type": "crack",
                "total_percentage_area": 0.02,
                "limit": 0.01,
                "limit_of": "crack",
            },
        },
    ]


def test_close_figures_have_enough_digits() -> None:
    text = decide(answer(True, 0.79999), Policy.from_confidence(0.8)).reasons[0].text
    assert text == "Anomalous with confidence 79.999% only, below 80%."


@pytest.mark.parametrize(
    ("confidence", "limit", "text"),
    [
        (0.620331, 0.8, "Anomalous with confidence 62% only, below 80%."),
        (0.6270331, 0.8, "Anomalous with confidence 62.7% only, below 80%."),
        (0.7996, 0.8, "Anomalous with confidence 79.96% only, below 80%."),
        (0.8, 0.8, "Anomalous with confidence 80%, at least 80%."),
        (0.80000001, 0.8, "Anomalous with confidence 80.000001%, at least 80%."),
        (1.0, 0.0, "Anomalous with confidence 100%, at least 0%."),
        (0.9, 0.12345, "Anomalous with confidence 90%, at least 12.3%."),
    ],
)
def test_percentages_have_no_more_digits_than_distinguish_them(
    confidence: float, limit: float, text: str
) -> None:
    policy = Policy.from_confidence(limit)
    verdict = decide(DetectAnomalyResult(True, confidence), policy)
    assert verdict.reasons[0].text == text
    assert verdict.reasons[0].figures["confidence"] == confidence


@given(st.floats(0, 1), st.floats(0, 1))
def test_different_figures_are_written_differently(confidence: float, limit: float) -> None:
    verdict = decide(DetectAnomalyResult(True, confidence), Policy.from_confidence(limit))
    one, two = re.findall(r"[0-9.e-]+(?=%)", verdict.reasons[0].text)
    assert (one == two) == (confidence == limit) or confidence * 100 == limit * 100


def test_a_review_of_an_unsure_answer_has_a_reason() -> None:
    found = decide(answer(True, 0.65), Policy.from_confidence(0.8))
    assert found.reasons[0].text == "Anomalous with confidence 65% only, below 80%."
    found = decide(answer(False, 0.65), Policy.from_confidence(0.8))
    assert found.reasons[0].text == "Normal with confidence 65% only, below 80%."


def test_a_policy_may_set_the_confidence_for_review() -> None:
    lenient = policy(
        classification={"min_confidence": 0.8}, review={"normal_below": 0, "anomalous_from": 0.5}
    )
    assert decide(answer(False, 0.1), lenient).verdict is ACCEPT
    assert decide(answer(True, 0.49), lenient).verdict is ACCEPT
    assert decide(answer(True, 0.5), lenient).verdict is REVIEW


def test_a_policy_stored_by_release_0_1_0_keeps_its_meaning() -> None:
    stored = {
        "version": 1,
        "name": "confidence 0.8",
        "default": {
            "classification": {"min_confidence": 0.8},
            "coverage": None,
            "anomaly_types": None,
            "combine": "any",
            "review": {"normal_below": None, "anomalous_from": None, "disagreement": False},
        },
        "class_attribute": None,
        "classes": {},
        "unknown_class": "default",
    }
    old = Policy.from_dict(stored)
    assert old.to_dict() == stored
    assert decide(answer(True, 0.65), old).verdict is ACCEPT
    assert decide(answer(False, 0.65), old).verdict is ACCEPT
    digest = (
        '{"default":{"classification":{"min_confidence":0.8}},"name":"confidence 0.8","version":1}'
    )
    assert old.digest == hashlib.sha256(digest.encode()).hexdigest()


FRACTION = st.floats(0, 1)


TYPES = ["crack", "dent", "stain"]


RULES = st.fixed_dictionaries(
    {},
    optional={
        "classification": st.fixed_dictionaries({"min_confidence": FRACTION}),
        "coverage": st.fixed_dictionaries(
            {"limits": st.dictionaries(st.sampled_from([*TYPES, "*"]), FRACTION, min_size=1)},
            optional={"min_confidence": FRACTION},
        ),
        "anomaly_types": st.fixed_dictionaries(
            {"max_types": st.integers(0, 3)}, optional={"min_confidence": FRACTION}
        ),
        "combine": st.sampled_from(["any", "all"]),
        "review": st.fixed_dictionaries(
            {},
            optional={
                "normal_below": FRACTION,
                "anomalous_from": FRACTION,
                "disagreement": st.booleans(),
            },
        ),
    },
).filter(lambda rules: set(rules) & {"classification", "coverage", "anomaly_types"})


POLICIES = RULES.map(lambda rules: policy(**rules))


AREAS = st.none() | st.dictionaries(st.sampled_from(TYPES), FRACTION)


QUICK = settings(max_examples=150, deadline=None)


def made(
    is_anomalous: bool, confidence: float, areas: dict[str, float] | None
) -> DetectAnomalyResult:
    found = None
    if areas is not None:
        found = tuple(Anomaly(name, area, "#000000") for name, area in areas.items())
    return DetectAnomalyResult(is_anomalous, confidence, found)


def severity(found: Verdict) -> int:
    return SEVERITY[found.verdict]


@QUICK
@given(POLICIES, st.booleans(), FRACTION, AREAS)
def test_every_answer_has_one_verdict_and_its_reasons(
    rules: Policy, is_anomalous: bool, confidence: float, areas: dict[str, float] | None
) -> None:
    result = made(is_anomalous, confidence, areas)
    found = decide(result, rules, {"product": "x"})
    assert found == decide(result, rules, {"product": "x"})
    assert found.reasons
    assert all(reason.text and reason.figures for reason in found.reasons)
    json.dumps([reason.to_dict() for reason in found.reasons], allow_nan=False)


@QUICK
@given(POLICIES, FRACTION, FRACTION, AREAS)
def test_a_surer_defect_is_never_treated_more_mildly(
    rules: Policy, one: float, other: float, areas: dict[str, float] | None
) -> None:
    less, more = sorted((one, other))
    assert severity(decide(made(True, less, areas), rules)) <= severity(
        decide(made(True, more, areas), rules)
    )


@QUICK
@given(POLICIES, FRACTION, FRACTION, AREAS)
def test_a_surer_normal_is_never_treated_more_harshly(
    rules: Policy, one: float, other: float, areas: dict[str, float] | None
) -> None:
    less, more = sorted((one, other))
    assert severity(decide(made(False, less, areas), rules)) >= severity(
        decide(made(False, more, areas), rules)
    )


@QUICK
@given(POLICIES, st.booleans(), FRACTION, st.sampled_from(TYPES), FRACTION, FRACTION)
def test_a_larger_defect_is_never_treated_more_mildly(
    rules: Policy, is_anomalous: bool, confidence: float, name: str, one: float, other: float
) -> None:
    less, more = sorted((one, other))
    assert severity(decide(made(is_anomalous, confidence, {name: less}), rules)) <= severity(
        decide(made(is_anomalous, confidence, {name: more}), rules)
    )


@QUICK
@given(POLICIES, FRACTION, AREAS)
def test_with_a_review_band_no_anomalous_answer_fares_better_than_the_unsure_normal_one(
    rules: Policy, confidence: float, areas: dict[str, float] | None
) -> None:
    band = rules.default.review
    if band.normal_below is None or band.anomalous_from is not None:
        return
    assert decide(made(True, confidence, areas), rules).verdict is not ACCEPT


@QUICK
@given(POLICIES)
def test_round_trip_and_digest(rules: Policy) -> None:
    again = Policy.parse(json.dumps(rules.to_dict()))
    assert again == rules
    assert again.digest == rules.digest
