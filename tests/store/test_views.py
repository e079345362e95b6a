"""The views match their documentation."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from lfv_store import ImageFacts, NewDetection, NewReview, NewVerdict, Store
from lfv_store.views import RESULT_COLUMNS
from tests.support.documented_sql import (
    DOCS,
    IMAGE_SHA256,
    LOT,
    RUN_ID,
    SERIAL,
    auditor_queries,
    documented_views,
)
from tests.support.store_samples import LEASE, a_model, a_run, at_time, failed, judged, segmented

MARCH = datetime(2026, 3, 14, 9, 26, 53, tzinfo=UTC)
CONTRACT = [
    "run_id",
    "flow_run_id",
    "source_ref",
    "image_sha256",
    "project_name",
    "model_version",
    "host",
    "is_anomalous",
    "confidence",
    "verdict",
    "reasons",
    "error",
    "reused",
    "detected_at",
    "attributes",
]


def test_the_documented_columns_are_the_views_columns(store: Store) -> None:
    documented = documented_views()
    with store.database.read() as conn:
        names = set(sa.inspect(conn).get_view_names())
        assert names == {*documented, "run_stays"}
        for view, columns in documented.items():
            result = conn.exec_driver_sql(f"SELECT * FROM {view} LIMIT 0")  # noqa: S608
            assert list(result.keys()) == columns, view


def test_inspection_results_begins_with_the_agreed_columns() -> None:
    assert documented_views()["inspection_results"][: len(CONTRACT)] == CONTRACT
    assert documented_views()["inspection_results"] == [name for name, _ in RESULT_COLUMNS]


@pytest.fixture
def examples(store: Store) -> Store:
    """A store in which each of the auditor's questions has an answer."""
    model_id = a_model(store)
    earlier = a_run(store, model_id, started_at=MARCH)
    run_id = a_run(store, model_id, run_id=RUN_ID, started_at=MARCH)
    facts = ImageFacts(IMAGE_SHA256, "PNG", 640, 480, 1000)
    lot = {"lot": LOT}

    def part(line: int, verdict: str, serial: str = "other"):  # type: ignore[no-untyped-def]
        attributes = {**lot, "serial": serial}
        return segmented(model_id, line, verdict, at=MARCH, attributes=attributes)

    lease = at_time(MARCH, store.leases.acquire, model_id, run_id, **LEASE)
    store.hostings.mark_hosted(lease.hosting_id, MARCH)
    store.inspections.record(earlier, [part(9, "accept")])
    (known,) = store.inspections.known_detections(
        model_id, [next(iter(store.results.rows(earlier)))["image_sha256"]]
    ).values()
    x = part(1, "reject", SERIAL)
    assert isinstance(x.detection, NewDetection)
    store.inspections.record(
        run_id,
        [
            replace(x, image=facts, detection=replace(x.detection, image_sha256=IMAGE_SHA256)),
            part(2, "review"),
            part(3, "review"),
            failed(4, attributes=lot, inspected_at=MARCH),
            replace(part(9, "accept"), detection=known.detection_id, reused=True),
            judged(model_id, 6, "reject", at=MARCH, attributes=lot),
        ],
    )
    store.runs.set_manifest(run_id, "ab" * 32, 6)
    waiting = {item.line_number: item.inspection_id for item in store.reviews.queue()}
    at_time(MARCH, store.reviews.record, NewReview(waiting[3], "accept", "Eve", "dust"))
    verdicts = [
        NewVerdict(item.inspection_id, "accept" if item.line_number == 6 else item.verdict)
        for item in store.verdicts.candidates(run_id)
    ]
    store.verdicts.add(run_id, {"confidence": 0.99}, verdicts)
    return store


def test_there_are_twenty_one_questions() -> None:
    numbers = [int(question.split(".")[0]) for question, _ in auditor_queries()]
    assert numbers == list(range(1, 22))


def test_every_question_of_an_auditor_has_an_answer(examples: Store) -> None:
    answers = {}
    with examples.database.read() as conn:
        for question, sql in auditor_queries():
            rows = conn.exec_driver_sql(sql).mappings().all()
            assert rows, question
            answers[int(question.split(".")[0])] = rows
    (record,) = answers[1]
    assert (record["verdict"], record["image_sha256"]) == ("reject", IMAGE_SHA256)
    outcomes = {row["outcome"]: row["parts"] for row in answers[3]}
    assert outcomes == {"accept": 3, "review": 2, "reject": 1, "error": 1}
    assert [row["serial"] for row in answers[4]] == [SERIAL]
    assert answers[7][0]["missing"] == 0
    assert [row["error"] for row in answers[8]] == ["image_truncated: The end is missing."]
    assert [(row["number"], bool(row["current"])) for row in answers[9]] == [(1, False), (2, True)]
    assert [row["verdict"] for row in answers[10]] == ["reject", "reject"]
    assert [(row["first_verdict"], row["verdict"]) for row in answers[11]] == [("reject", "accept")]
    assert len(answers[12]) == 1
    assert (answers[13][0]["reviewer"], bool(answers[13][0]["overruled"])) == ("Eve", False)
    assert [(str(row["day"]), row["rejected"]) for row in answers[14]] == [("2026-03-14", 1)]
    assert {row["name"] for row in answers[15]} == {"scratch", "dent"}
    assert answers[18][0]["run_id"] == RUN_ID
    assert answers[19][0]["answers"] == 1
    assert answers[20][0]["action"] == "inspections.recorded"


def test_only_a_verdict_of_a_person_overrules_the_system(examples: Store) -> None:
    """Not an unsure one, nor taking a review back."""
    parts = {one.line_number: one.inspection_id for one in examples.verdicts.candidates(RUN_ID)}
    at_time(MARCH, examples.reviews.record, NewReview(parts[1], "review", "Uma"))
    at_time(
        MARCH, examples.reviews.record, NewReview(parts[1], "accept", "Uma", reason="dust or dirt")
    )
    examples.reviews.undo(parts[1], "Uma")
    sql = dict(auditor_queries())[
        "13. Who reviewed what in March, and where did a person overrule the system?"
    ]
    everything = re.sub("WHERE .*\n", "WHERE rv.reviewer = 'Uma'\n", sql)
    with examples.database.read() as conn:
        rows = conn.exec_driver_sql(everything.replace("rv.reviewed_at;", "rv.id")).mappings().all()
    said = [(row["kind"], row["said"], bool(row["overruled"]), row["reason"]) for row in rows]
    assert sorted(said) == [
        ("review", "accept", True, "dust or dirt"),
        ("review", "review", False, ""),
        ("undo", "review", False, ""),
    ]


def test_the_examples_beside_the_views_run(examples: Store) -> None:
    text = (DOCS / "store.md").read_text() + (DOCS / "views.md").read_text()
    blocks = re.findall(r"^```sql\n(.+?)^```", text, re.MULTILINE | re.DOTALL)
    assert len(blocks) >= len(documented_views())
    with examples.database.read() as conn:
        for block in blocks:
            for statement in block.split(";\n"):
                if statement.strip():
                    conn.exec_driver_sql(statement).all()
