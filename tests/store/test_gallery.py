"""Reads for pages: one screen at a time, through indexes, whatever the size of a run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa

from lfv.formats.answers import is_background
from lfv_store import NewReview, NewVerdict, Store, UnknownRun, open_store
from lfv_store.answer_tallies import add_anomalies
from tests.support.store_samples import (
    a_model,
    a_response,
    a_run,
    after,
    failed,
    judged,
    segmented,
)


@pytest.fixture
def run_id(store: Store) -> str:
    return five_lines(store)


def five_lines(store: Store) -> str:
    """Lines: 1 accepted, 2 rejected, 3 to review, 4 segmented and rejected, 5 an error."""
    model = a_model(store)
    run = a_run(store, model)
    store.inspections.record(
        run,
        [
            judged(model, 1),
            judged(model, 2, "reject"),
            judged(model, 3, "review"),
            segmented(model, 4),
            failed(5),
        ],
    )
    return run


def lines(store: Store, run_id: str, **values: Any) -> list[int]:
    return [row["line_number"] for row in store.gallery.page(run_id, **values)]


def test_a_page_of_a_run(store: Store, run_id: str) -> None:
    assert lines(store, run_id) == [1, 2, 3, 4, 5]
    assert lines(store, run_id, after=2, limit=2) == [3, 4]
    assert lines(store, run_id, outcome="reject") == [2, 4]
    assert lines(store, run_id, outcome="error") == [5]
    assert lines(store, run_id, anomaly="scratch") == [4]
    with pytest.raises(UnknownRun):
        store.gallery.page("other")


def test_the_current_verdict_decides(store: Store, run_id: str) -> None:
    again = [
        NewVerdict(one.inspection_id, "review" if one.line_number == 1 else "accept")
        for one in store.verdicts.candidates(run_id)
    ]
    store.verdicts.add(run_id, {"confidence": 0.1}, again)
    assert lines(store, run_id, outcome="review") == [1]
    assert lines(store, run_id, outcome="reject") == []
    assert lines(store, run_id, outcome="accept") == [2, 3, 4]
    store.reviews.record(NewReview(store.results.line(run_id, 1)["inspection_id"], "reject", "Eve"))
    assert lines(store, run_id, outcome="review") == []
    assert lines(store, run_id, outcome="reject") == [1]


def test_good_parts_were_called_normal_and_are_accepted(store: Store, run_id: str) -> None:
    first, anomaly, unsure, *_ = store.results.rows(run_id)
    assert store.gallery.good_parts(first["model_id"]) == [first["inspection_id"]]
    store.reviews.record(NewReview(anomaly["inspection_id"], "accept", "Eve"))
    store.reviews.record(NewReview(unsure["inspection_id"], "accept", "Eve"))
    good = [unsure["inspection_id"], first["inspection_id"]]
    assert store.gallery.good_parts(first["model_id"]) == good
    store.reviews.record(NewReview(first["inspection_id"], "reject", "Eve"))
    assert store.gallery.good_parts(first["model_id"]) == good[:1]


def test_figures_of_all_answers(store: Store, run_id: str) -> None:
    counted = {
        (is_anomalous, confidence, verdict): images
        for is_anomalous, confidence, verdict, images in store.results.answers(run_id)
    }
    assert counted == {
        (False, 0.9, "accept"): 1,
        (True, 0.9, "reject"): 2,
        (False, 0.9, "review"): 1,
    }
    types = {name: images for name, images, _ in store.results.anomaly_types(run_id)}
    assert types == {"scratch": 1, "dent": 1}


def test_the_data_for_drawing(store: Store, run_id: str) -> None:
    detection = store.results.line(run_id, 4)["detection_id"]
    found = store.results.annotations([detection])[detection]
    assert (found.width, found.height, found.has_mask) == (640, 480, True)
    assert [name for name, _, _ in found.anomalies] == ["scratch", "dent"]


def test_parts_are_found_over_all_runs(store: Store, run_id: str) -> None:
    row = store.results.line(run_id, 2)
    other = a_run(store, row["model_id"])
    store.inspections.record(other, [judged(row["model_id"], 2)])
    for text in ("SN000002", row["image_sha256"], row["image_sha256"][:9], "lots/2.png"):
        found = store.part_search.find(text)
        assert [one["run_id"] for one in found] == [other, run_id], text
    assert [one["run_id"] for one in store.part_search.find(str(row["inspection_id"]))] == [run_id]
    for text in ("sn000002", "SN000002"[:7], "sn0000", "0002", "LOTS/2.p"):
        assert run_id in [one["run_id"] for one in store.part_search.find(text)], text
    assert store.part_search.find("100%") == store.part_search.find("") == []


@contextmanager
def statements(store: Store) -> Iterator[list[tuple[str, Any]]]:
    seen: list[tuple[str, Any]] = []

    def note(_conn: Any, _cursor: Any, sql: str, parameters: Any, *_rest: Any) -> None:
        if sql.lstrip().upper().startswith(("SELECT", "WITH")):
            seen.append((sql, parameters))

    sa.event.listen(store.database.engine, "before_cursor_execute", note)
    yield seen
    sa.event.remove(store.database.engine, "before_cursor_execute", note)


def test_a_page_reads_no_whole_table(sqlite_url: str) -> None:
    """On SQLite: PostgreSQL plans by statistics, which an almost empty database lacks."""
    with open_store(sqlite_url) as store:
        run_id = five_lines(store)
        with statements(store) as seen:
            for outcome in (None, "reject", "review", "accept", "error"):
                store.gallery.page(run_id, outcome=outcome, after=1)
            store.results.annotations([1, 2])
            store.part_search.find("SN000002")
            store.part_search.find("sn0000")
            store.part_search.of_image("ab" * 32)
        assert len(seen) > 8
        with store.database.read() as conn:
            for sql, parameters in seen:
                rows = conn.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", parameters)
                plan = [row[3] for row in rows]
                # The table of reviews is read whole, because people record few.
                for table in ("inspections", "detections", "images", "anomalies", "verdicts"):
                    scans = [step for step in plan if step.startswith(f"SCAN {table}")]
                    assert not [one for one in scans if "USING" not in one], (sql, plan)


def test_the_background_of_an_odd_answer_is_not_an_anomaly_type(
    store: Store, database_url: str
) -> None:
    names = ["Scratch", "BACKGROUND", "normal", " Background ", "background 2", "Abnormal", ""]
    types = [name for name in names if not is_background(name)]
    assert types == ["Scratch", "background 2", "Abnormal", ""]
    model_id = a_model(store)
    run_id = a_run(store, model_id)
    response = a_response(is_anomalous=True)
    response["Anomalies"] = [
        {"Name": name, "PixelAnomaly": {"TotalPercentageArea": 0.1, "Color": "#010203"}}
        for name in names
    ]
    store.inspections.record(run_id, [judged(model_id, 1, "reject", response=response)])
    store.runs.set_status(run_id, "completed", None, after(99))
    row = store.results.line(run_id, 1)
    assert row["anomaly_names"] == "; ".join(types)
    found = store.results.annotations([row["detection_id"]])[row["detection_id"]]
    assert [name for name, _, _ in found.anomalies] == types
    assert {name for name, _, _ in store.results.anomaly_types(run_id)} == set(types)
    with store.database.read() as conn:
        assert set(conn.scalars(sa.text("SELECT name FROM anomaly_results"))) == set(types)
    assert store.audit.verify().ok
    with store.database.write() as conn:  # as earlier releases counted
        run = conn.scalar(sa.text("SELECT id FROM runs"))
        add_anomalies(conn, run, [("BACKGROUND", 1, None)])
        conn.exec_driver_sql("UPDATE alembic_version SET version_num = '0014'")
    with open_store(database_url, migrate=True) as upgraded:
        assert {name for name, _, _ in upgraded.results.anomaly_types(run_id)} == set(types)
        assert upgraded.audit.verify().ok
