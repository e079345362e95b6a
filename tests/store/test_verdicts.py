"""Deciding again, and people's reviews."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lfv_store import (
    InvalidRecord,
    NewReview,
    NewVerdict,
    RunCounts,
    Store,
    UnknownInspection,
    UnknownRun,
)
from tests.support.store_samples import (
    POLICY,
    T0,
    a_model,
    a_response,
    a_run,
    after,
    at_time,
    failed,
    judged,
    segmented,
)

LENIENT = {"confidence": 0.5}


@pytest.fixture
def run_id(store: Store) -> str:
    """Lines 1 to 5: accept, reject, review, error, review."""
    model_id = a_model(store)
    run_id = a_run(store, model_id)
    store.inspections.record(
        run_id,
        [
            judged(model_id, 1),
            segmented(model_id, 2, expected_is_anomalous=True, expected_mask_ref="m/2.png"),
            judged(model_id, 3, "review", response=a_response(confidence=0.55)),
            failed(4),
            judged(model_id, 5, "review"),
        ],
    )
    return run_id


def again(store: Store, run_id: str, verdict: str) -> Iterator[NewVerdict]:
    for found in store.verdicts.candidates(run_id):
        yield NewVerdict(found.inspection_id, verdict, [{"rule": "all"}])  # type: ignore[arg-type]


def test_candidates_have_all_that_a_decision_needs(store: Store, run_id: str) -> None:
    found = list(store.verdicts.candidates(run_id))
    assert [item.line_number for item in found] == [1, 2, 3, 5]
    second = found[1]
    assert second.response == a_response(is_anomalous=True, areas={"scratch": 0.02, "dent": 0.005})
    assert (second.expected_is_anomalous, second.expected_mask_ref) == (True, "m/2.png")
    assert second.has_mask
    assert store.results.mask(second.detection_id) == b"mask 2"
    assert store.results.mask(found[0].detection_id) is None
    assert second.attributes == {"serial": "SN000002", "lot": "L41"}
    with pytest.raises(UnknownRun):
        next(store.verdicts.candidates("nope"))


def test_a_new_decision_takes_effect_and_keeps_the_old_one(store: Store, run_id: str) -> None:
    before = store.inspections.counts(run_id)
    assert before == RunCounts(5, 1, 1, 2, 1, 0, 0)
    decision = store.verdicts.add(run_id, LENIENT, again(store, run_id, "accept"), decided_by="ben")
    assert (decision.number, decision.verdicts, decision.current) == (2, 4, True)
    assert (decision.policy, decision.decided_by) == (LENIENT, "ben")
    assert store.inspections.counts(run_id) == RunCounts(5, 4, 0, 0, 1, 0, 0)
    rows = list(store.results.rows(run_id))
    assert [row["verdict"] for row in rows] == ["accept", "accept", "accept", None, "accept"]
    assert [row["first_verdict"] for row in rows] == ["accept", "reject", "review", None, "review"]
    assert rows[1]["reasons"] == [{"rule": "all"}]
    assert [found.verdict for found in store.verdicts.candidates(run_id)] == ["accept"] * 4
    first, second = store.verdicts.decisions(run_id)
    assert (first.number, first.policy, first.current, first.verdicts) == (1, POLICY, False, 0)
    assert second == decision
    history = store.verdicts.history(rows[1]["inspection_id"])
    assert [(item.decision, item.verdict, item.current) for item in history] == [
        (1, "reject", False),
        (2, "accept", True),
    ]
    assert history[1].reasons == [{"rule": "all"}]
    assert history[0].decided_at == rows[1]["inspected_at"] > T0
    assert store.audit.verify().ok


def test_lines_recorded_later_count_with_their_first_verdict(store: Store, run_id: str) -> None:
    store.verdicts.add(run_id, LENIENT, again(store, run_id, "accept"))
    store.inspections.record(run_id, [judged(1, 6, "reject")])
    assert store.inspections.counts(run_id) == RunCounts(6, 4, 1, 0, 1, 0, 0)
    assert store.audit.verify().ok
    store.verdicts.add(run_id, POLICY, again(store, run_id, "review"))
    assert store.inspections.counts(run_id) == RunCounts(6, 0, 0, 5, 1, 0, 0)
    assert [found.number for found in store.verdicts.decisions(run_id)] == [1, 2, 3]
    assert store.audit.verify().ok


def test_a_decision_cut_short_has_no_effect(store: Store, run_id: str) -> None:
    def broken() -> Iterator[NewVerdict]:
        yield from again(store, run_id, "accept")
        raise ZeroDivisionError

    counts = store.inspections.counts(run_id)
    with pytest.raises(ZeroDivisionError):
        store.verdicts.add(run_id, LENIENT, broken())
    assert store.inspections.counts(run_id) == counts
    assert [found.current for found in store.verdicts.decisions(run_id)] == [True, False]
    assert store.audit.verify().ok
    assert store.verdicts.add(run_id, LENIENT, again(store, run_id, "accept")).number == 3


def test_wrong_verdicts_are_refused(store: Store, run_id: str) -> None:
    rows = {row["line_number"]: row["inspection_id"] for row in store.results.rows(run_id)}
    with pytest.raises(UnknownRun):
        store.verdicts.add("nope", LENIENT, [])
    with pytest.raises(UnknownInspection):
        store.verdicts.add(run_id, LENIENT, [NewVerdict(99, "accept")])
    with pytest.raises(InvalidRecord):
        store.verdicts.add(run_id, LENIENT, [NewVerdict(rows[1], "maybe")])  # type: ignore[arg-type]
    with pytest.raises(InvalidRecord, match="no answer to decide on"):
        store.verdicts.add(run_id, LENIENT, [NewVerdict(rows[4], "accept")])
    with pytest.raises(UnknownInspection):
        store.verdicts.history(rows[4])


def test_the_queue_holds_what_nobody_reviewed(store: Store, run_id: str) -> None:
    queue = store.reviews.queue()
    assert [item.line_number for item in queue] == [3, 5]
    assert (queue[0].confidence, queue[0].is_anomalous) == (0.55, False)
    assert queue[0].attributes == {"serial": "SN000003", "lot": "L41"}
    assert queue[0].inspected_at == after(3)
    assert store.reviews.queue(limit=1) == queue[:1]
    assert store.reviews.queue(run_id="other") == []
    assert store.reviews.queue(run_id=run_id) == queue
    at_time(
        after(99),
        store.reviews.record,
        NewReview(queue[0].inspection_id, "reject", "Eve", "a hairline crack"),
    )
    assert store.reviews.queue() == queue[1:]
    store.verdicts.add(run_id, LENIENT, again(store, run_id, "review"))
    assert [item.line_number for item in store.reviews.queue()] == [1, 2, 5]
    assert store.reviews.queue()[0].reasons == [{"rule": "all"}]


def test_reviews_follow_one_another(store: Store, run_id: str) -> None:
    (first, second) = store.reviews.queue()
    one = at_time(
        after(99),
        store.reviews.record,
        NewReview(first.inspection_id, "reject", " Eve ", "a crack"),
    )
    two = at_time(
        after(120),
        store.reviews.record,
        NewReview(first.inspection_id, "accept", "Max", "dirt on the lens"),
    )
    store.reviews.record(NewReview(second.inspection_id, "accept", "Max"))
    history = store.reviews.history(first.inspection_id)
    assert [(item.review_id, item.verdict, item.reviewer) for item in history] == [
        (one.review_id, "reject", "Eve"),
        (two.review_id, "accept", "Max"),
    ]
    assert (history[0].comment, history[0].reviewed_at) == ("a crack", after(99))
    assert history[0].image_sha256 == first.image_sha256
    latest = list(store.reviews.latest(run_id=run_id))
    assert [(item.inspection_id, item.verdict) for item in latest] == [
        (first.inspection_id, "accept"),
        (second.inspection_id, "accept"),
    ]
    assert list(store.reviews.latest()) == latest
    assert list(store.reviews.latest(run_id="other")) == []
    row = store.results.get(first.inspection_id)
    assert (row["verdict"], row["reviewed_verdict"]) == ("review", "accept")
    assert store.audit.verify().ok


def test_wrong_reviews_are_refused(store: Store, run_id: str) -> None:
    (first, _) = store.reviews.queue()
    with pytest.raises(UnknownInspection):
        store.reviews.record(NewReview(99, "accept", "Eve"))
    with pytest.raises(UnknownInspection):
        store.reviews.history(99)
    with pytest.raises(InvalidRecord, match="accept, reject or review"):
        store.reviews.record(NewReview(first.inspection_id, "maybe", "Eve"))  # type: ignore[arg-type]
    with pytest.raises(InvalidRecord, match="name of its reviewer"):
        store.reviews.record(NewReview(first.inspection_id, "accept", "  "))
    assert store.reviews.history(first.inspection_id) == []
