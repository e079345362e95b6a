"""Planning, recording and counting."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime

import pytest
import sqlalchemy as sa

from lfv_store import (
    InvalidRecord,
    NewDetection,
    NewInspection,
    RunCounts,
    Store,
    UnknownRecord,
    UnknownRun,
)
from tests.support.store_samples import (
    T0,
    a_model,
    a_response,
    a_run,
    an_image,
    an_item,
    failed,
    judged,
    segmented,
)


def rows(store: Store, table: str) -> int:
    with store.database.read() as conn:
        return int(conn.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one())  # noqa: S608


def indexed(store: Store, name: str, value: str) -> list[int]:
    """The ids of inspections with an attribute, from its index."""
    with store.database.read() as conn:
        return list(
            conn.scalars(
                sa.text(
                    "SELECT inspection_id FROM inspection_attributes"
                    " WHERE name = :name AND value = :value"
                ),
                {"name": name, "value": value},
            )
        )


FACTS = (
    "images",
    "detections",
    "masks",
    "anomalies",
    "inspections",
    "inspection_attributes",
    "audit_log",
)


def test_plan_then_pending_pages_by_line(store: Store) -> None:
    run_id = a_run(store)
    items = [an_item(line, attributes={"serial": line}) for line in range(1, 8)]
    store.inspections.plan(run_id, pending=items[:4], through_line=4)
    store.inspections.plan(run_id, pending=items[4:], done=[failed(8)], through_line=8)
    assert store.inspections.pending(run_id, limit=3) == items[:3]
    assert store.inspections.pending(run_id, after_line=3, limit=3) == items[3:6]
    assert store.inspections.pending(run_id, after_line=7) == []
    assert store.runs.get(run_id).planned_through == 8
    assert store.inspections.counts(run_id) == RunCounts(8, 0, 0, 0, 1, 0, 7)


def test_planning_again_changes_nothing(store: Store) -> None:
    run_id = a_run(store)
    model_id = a_model(store)
    items = [an_item(1), an_item(2)]
    for _ in range(2):
        store.inspections.plan(run_id, pending=items, done=[failed(3)], through_line=3)
    store.inspections.record(run_id, [judged(model_id, 1)])
    before = [dict(row) for row in store.results.rows(run_id)]
    store.inspections.plan(run_id, pending=items, done=[failed(3)], through_line=2)
    assert [dict(row) for row in store.results.rows(run_id)] == before
    assert store.inspections.pending(run_id) == [items[1]]
    assert store.runs.get(run_id).planned_through == 3


def test_same_bytes_pending_twice_are_detected_once(store: Store) -> None:
    run_id = a_run(store)
    store.inspections.plan(run_id, pending=[an_item(1, "a"), an_item(2, "a")], through_line=2)
    store.inspections.plan(run_id, pending=[an_item(3, "a"), an_item(4, "b")], through_line=4)
    asked = store.inspections.pending(run_id)
    waiting = store.inspections.pending(run_id, duplicate=True)
    everything = store.inspections.pending(run_id, duplicate=None)
    assert [item.line_number for item in asked] == [1, 4]
    assert [item.line_number for item in waiting] == [2, 3]
    assert [item.line_number for item in everything] == [1, 2, 3, 4]


def test_record_stores_everything_once(store: Store) -> None:
    model_id = a_model(store)
    run_id = a_run(store, model_id)
    batch = [judged(model_id, 1), segmented(model_id, 2), failed(3), judged(model_id, 4, "review")]
    store.inspections.plan(run_id, pending=[an_item(n) for n in (1, 2, 4, 5)], through_line=5)
    assert store.inspections.record(run_id, batch) == 4
    before = {table: rows(store, table) for table in FACTS}
    assert before == {
        "images": 3,
        "detections": 3,
        "masks": 1,
        "anomalies": 3,
        "inspections": 4,
        "inspection_attributes": 6,
        "audit_log": before["audit_log"],
    }
    assert store.inspections.record(run_id, batch) == 0
    assert store.inspections.record(run_id, [*batch, judged(model_id, 5)]) == 1
    assert rows(store, "audit_log") == before["audit_log"] + 1
    assert store.inspections.pending(run_id) == []
    assert store.inspections.counts(run_id) == RunCounts(5, 2, 1, 1, 1, 0, 0)
    assert store.audit.verify().ok


def test_a_line_keeps_its_first_record(store: Store) -> None:
    model_id = a_model(store)
    run_id = a_run(store, model_id)
    store.inspections.record(run_id, [judged(model_id, 1, "reject"), judged(model_id, 1, "accept")])
    store.inspections.record(run_id, [failed(1)])
    assert [row["verdict"] for row in store.results.rows(run_id)] == ["reject"]


def test_known_detections_are_the_newest_of_the_model(store: Store) -> None:
    model_id, other = a_model(store), a_model(store, "2")
    first, second, third = (a_run(store, model) for model in (model_id, model_id, other))
    store.inspections.record(first, [segmented(model_id, 1, image="a"), judged(model_id, 2)])
    newer = judged(model_id, 1, image="a", response=a_response(confidence=0.75))
    store.inspections.record(second, [newer])
    store.inspections.record(third, [judged(other, 1, image="a")])
    wanted = [an_image("a").sha256, an_image(2).sha256, an_image("never seen").sha256]
    known = store.inspections.known_detections(model_id, wanted)
    assert set(known) == set(wanted[:2])
    assert known[wanted[0]].response == a_response(confidence=0.75)
    own = store.inspections.known_detections(model_id, wanted, run_id=first)
    assert own[wanted[0]].response == a_response(
        is_anomalous=True, areas={"scratch": 0.02, "dent": 0.005}
    )
    assert own[wanted[0]].detection_id < known[wanted[0]].detection_id
    assert store.inspections.known_detections(model_id, []) == {}
    assert store.inspections.count_known(model_id, wanted) == 2
    assert store.inspections.count_known(other, wanted) == 1
    assert store.inspections.count_known(model_id, []) == 0


def test_an_answer_is_reused_by_its_id(store: Store) -> None:
    model_id = a_model(store)
    first, second = a_run(store, model_id), a_run(store, model_id)
    store.inspections.record(first, [judged(model_id, 1, image="a")])
    known = store.inspections.known_detections(model_id, [an_image("a").sha256])
    detection_id = known[an_image("a").sha256].detection_id
    again = replace(judged(model_id, 9, "review", image="a"), detection=detection_id, reused=True)
    assert store.inspections.record(second, [again]) == 1
    assert store.inspections.counts(second) == RunCounts(1, 0, 0, 1, 0, 1, 0)
    (row,) = store.results.rows(second)
    assert row["reused"] is True
    assert row["confidence"] == 0.9
    assert rows(store, "detections") == 1


def test_a_wrong_batch_is_refused_as_a_whole(store: Store) -> None:
    model_id = a_model(store)
    run_id = a_run(store, model_id)
    store.inspections.record(run_id, [judged(model_id, 100, image="a")])
    known = store.inspections.known_detections(model_id, [an_image("a").sha256])
    detection_id = known[an_image("a").sha256].detection_id
    good = judged(model_id, 1)
    assert isinstance(good.detection, NewDetection)
    bad: list[tuple[NewInspection, type[Exception], str]] = [
        (replace(good, verdict=None), InvalidRecord, "either a verdict or an error"),
        (replace(good, error_code="x"), InvalidRecord, "either a verdict or an error"),
        (replace(good, verdict="maybe"), InvalidRecord, "unknown verdict 'maybe'"),  # type: ignore[arg-type]
        (replace(good, detection=None), InvalidRecord, "a verdict needs a detection"),
        (replace(good, image=None), InvalidRecord, "a detection needs its image"),
        (replace(good, image=an_image("b")), InvalidRecord, "of another image"),
        (replace(good, detection=detection_id, reused=True), InvalidRecord, "of another image"),
        (replace(good, detection=detection_id), InvalidRecord, "a reused answer is named by"),
        (replace(good, reused=True), InvalidRecord, "a reused answer is named by"),
        (replace(good, detection=12345, reused=True), UnknownRecord, "no detection 12345"),
        (replace(good, inspected_at=datetime(2026, 1, 1)), InvalidRecord, "naive"),  # noqa: DTZ001
        (replace(good, attributes={"x": object()}), InvalidRecord, "not JSON"),
        (judged(model_id, 1, response={"Confidence": 0.5}), InvalidRecord, "IsAnomalous"),
        (judged(model_id, 1, response={"IsAnomalous": True}), InvalidRecord, "Confidence"),
        (
            replace(good, detection=replace(good.detection, latency_ms=float("inf"))),
            InvalidRecord,
            "latency_ms",
        ),
        (judged(model_id, 1, response=a_response(confidence=1.5)), InvalidRecord, "confidence"),
        (judged(999, 1), InvalidRecord, "(?i)foreign key"),
    ]
    before = {table: rows(store, table) for table in FACTS}
    for item, error, message in bad:
        item = replace(item, line_number=2)
        with pytest.raises(error, match=message):
            store.inspections.record(run_id, [good, item])
    assert {table: rows(store, table) for table in FACTS} == before
    with pytest.raises(UnknownRun):
        store.inspections.record("nope", [good])
    with pytest.raises(UnknownRun):
        store.inspections.pending("nope")
    with pytest.raises(UnknownRun):
        store.inspections.counts("nope")


def test_an_empty_batch_leaves_no_trace(store: Store) -> None:
    run_id = a_run(store)
    before = store.audit.head()
    assert store.inspections.record(run_id, []) == 0
    assert store.audit.head() == before


def test_the_raw_response_is_kept(store: Store) -> None:
    model_id = a_model(store)
    run_id = a_run(store, model_id)
    response = {
        "DetectAnomalyResult": {
            "Confidence": 1,
            "IsAnomalous": True,
            "Extra": {"é": [1.0, 1e-9, 12345678901234567, None, "ü"]},
        }
    }
    store.inspections.record(run_id, [judged(model_id, 1, "reject", response=response)])
    (stored,) = store.verdicts.candidates(run_id)
    assert stored.response == response
    (row,) = store.results.rows(run_id)
    assert (row["is_anomalous"], row["confidence"]) == (True, 1.0)
    assert isinstance(row["confidence"], float)
    assert store.audit.verify().ok


def test_hostile_text_is_stored_and_found(store: Store) -> None:
    model_id = a_model(store)
    run_id = a_run(store, model_id)
    attributes = {
        "serial": "'; DROP TABLE inspections; --",
        "nul": "a\x00b",
        "half": "\ud83d",
        "long": "x" * 5000,
        "nested": {"a": [1, "\x00"]},
        "number": 1.5,
        "huge": 2**80,
        "yes": True,
        "none": None,
        "backslash": "\\u0000",
        "emoji \U0001f600": "\U0001f600",
        "": "empty name",
        "n" * 300: "long name",
    }
    item = judged(model_id, 1, attributes=attributes, expected_mask_ref="m\x00")
    store.inspections.record(run_id, [item, failed(2, error_message="\ud800 \x00", attributes={})])
    first = store.results.line(run_id, 1)
    assert indexed(store, "serial", "'; DROP TABLE inspections; --") == [first["inspection_id"]]
    stored = first["attributes"]
    assert stored["nul"] == "a\ufffdb"
    assert stored["huge"] == str(2**80)
    assert stored["nested"] == {"a": [1, "\ufffd"]}
    assert stored["backslash"] == "\\u0000"
    assert stored["long"] == "x" * 5000
    for name, value in {
        "number": "1.5",
        "yes": "true",
        "nested": '{"a":[1,"\ufffd"]}',
        "emoji \U0001f600": "\U0001f600",
        "": "empty name",
    }.items():
        assert len(indexed(store, name, value)) == 1, name
    assert indexed(store, "long", "x" * 5000) == []  # too long for an index
    assert store.audit.verify().ok


def test_attributes_are_json_in_sql(store: Store) -> None:
    model_id = a_model(store)
    run_id = a_run(store, model_id)
    store.inspections.record(run_id, [judged(model_id, 1, attributes={"b": 1, "a": {"c": "x"}})])
    with store.database.read() as conn:
        text = conn.exec_driver_sql(
            "SELECT CAST(attributes AS TEXT) FROM inspection_results"
        ).scalar_one()
    assert text == '{"a":{"c":"x"},"b":1}'
    assert json.loads(text) == {"a": {"c": "x"}, "b": 1}


def test_days_are_utc_days(store: Store) -> None:
    model_id = a_model(store)
    run_id = a_run(store, model_id)
    late = datetime.fromisoformat("2026-03-04T23:30:00-02:00")
    store.inspections.record(run_id, [judged(model_id, 1, at=late), judged(model_id, 2, at=T0)])
    with store.database.read() as conn:
        days = conn.exec_driver_sql(
            "SELECT CAST(day AS TEXT), inspected FROM defect_rate_daily ORDER BY day"
        ).all()
    assert [tuple(row) for row in days] == [("2026-03-04", 1), ("2026-03-05", 1)]
    assert store.audit.verify().ok
