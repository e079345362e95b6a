"""The audit log in normal use."""

# ruff: noqa: S608 -- table names are ours

from __future__ import annotations

import hashlib
import json
import tracemalloc

import pytest
from sqlalchemy.exc import DBAPIError

from lfv_store import InvalidRecord, NewReview, Store, open_store
from lfv_store.audit.guards import APPEND_ONLY
from lfv_store.audit.verification import AuditHead, AuditProblem, AuditReport
from tests.support.store_samples import a_model, a_run, judged
from tests.support.tampering import fill


def test_an_empty_log_is_intact(store: Store) -> None:
    report = store.audit.verify()
    assert report.ok
    assert (report.entries, report.rows, report.head) == (0, 0, None)
    assert store.audit.head() is None


def test_head_and_verify_agree(store: Store) -> None:
    fill(store)
    head = store.audit.head()
    assert head is not None
    text = str(head)
    assert text == f"lfv-audit:{head.seq}:{head.hash}"
    assert AuditHead.parse(f" {text}\n") == AuditHead(head.seq, head.hash)
    report = store.audit.verify(text)
    assert report.ok
    assert report.head_checked
    assert report.head == head
    assert report.inspections == 27
    a_run(store)
    assert store.audit.verify(head).ok  # an older head is still in the log


def test_entries_with_any_text_verify(store: Store) -> None:
    """Each database computes the hash, and JSON can write a character in several ways."""
    every = "".join(map(chr, range(1, 0x180))) + '\u2028\u2029\ufeff\ufffd\U0001f600/\\"'
    run_id = a_run(store, a_model(store), run_id=every)
    store.inspections.record(run_id, [judged(1, 1)])
    entries = list(store.audit.entries())
    assert entries[-1].subject == every
    assert all(entry.hash == entry.computed_hash() for entry in entries)
    assert store.audit.verify().ok


@pytest.mark.parametrize("text", ["", "lfv-audit:1:abc", "lfv-audit:x:" + "0" * 64, "0" * 64])
def test_an_invalid_head_is_refused(text: str) -> None:
    with pytest.raises(InvalidRecord, match="looks like"):
        AuditHead.parse(text)


def test_a_head_of_another_database_does_not_match(store: Store) -> None:
    fill(store)
    report = store.audit.verify(AuditHead(5, "0" * 64))
    assert [problem.kind for problem in report.problems] == ["head"]
    assert "rewritten" in report.problems[0].message


def test_an_auditor_can_check_an_entry_by_hand(store: Store) -> None:
    """As docs/audit.md describes it, without the project's code."""
    fill(store)
    previous = "0" * 64
    for entry in store.audit.entries():
        fields = [
            entry.seq,
            entry.change,
            entry.at,
            entry.actor,
            entry.action,
            entry.subject,
            entry.content,
            previous,
        ]
        text = json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
        previous = hashlib.sha256(text.encode()).hexdigest()
        assert entry.hash == previous


def test_the_actor_is_recorded(database_url: str) -> None:
    with open_store(database_url, actor="worker-7") as store:
        model_id = a_model(store)
        run_id = a_run(store, model_id)
        store.inspections.record(run_id, [judged(model_id, 1, "review")])
        (waiting,) = store.reviews.queue()
        store.reviews.record(NewReview(waiting.inspection_id, "accept", "Eve", ""))
        assert [(entry.actor, entry.action) for entry in store.audit.entries()] == [
            ("worker-7", "model.registered"),
            ("worker-7", "run.started"),
            ("worker-7", "inspections.recorded"),
            ("Eve", "review.added"),
        ]


def test_triggers_refuse_changes(store: Store) -> None:
    fill(store)
    for table in APPEND_ONLY:
        statements = [f"DELETE FROM {table}", f"UPDATE {table} SET {_column(store, table)}"]
        if store.database.dialect.many_writers:
            statements.append(f"TRUNCATE {table} CASCADE")
        for statement in statements:
            with (
                pytest.raises(DBAPIError, match="is append-only"),
                store.database.engine.begin() as conn,
            ):
                conn.exec_driver_sql(statement)
    assert store.audit.verify().ok


def _column(store: Store, table: str) -> str:
    with store.database.read() as conn:
        name = conn.exec_driver_sql(f"SELECT * FROM {table}").keys()
    column = list(name)[-1]
    return f"{column} = {column}"


def test_writers_continue_during_a_verification(store: Store) -> None:
    fill(store)
    model_id = a_model(store)
    run_id = a_run(store, model_id)
    lines = iter(range(1, 1000))

    def write(_entries: int) -> None:
        store.inspections.record(run_id, [judged(model_id, next(lines))])

    report = store.audit.verify(progress=write)
    assert report.ok, report.problems
    assert store.audit.verify().entries > report.entries


def test_memory_does_not_grow_with_the_record(store: Store) -> None:
    model_id = a_model(store)
    run_id = a_run(store, model_id)
    reasons = [{"rule": "x" * 2000}]
    peaks = []
    for first in (0, 1000, 2000, 3000):
        lines = range(first, first + 1000)
        batch = [judged(model_id, line, image=0, reasons=reasons) for line in lines]
        for start in range(0, 1000, 250):
            store.inspections.record(run_id, batch[start : start + 250])
        tracemalloc.start()
        try:
            assert store.audit.verify().ok
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert peaks[-1] < 1.5 * peaks[0]  # of four times the rows
    assert peaks[-1] < 8_000_000


def test_progress_is_reported(store: Store) -> None:
    fill(store)
    told: list[int] = []
    report = store.audit.verify(progress=told.append)
    assert told[-1] == report.entries


def test_the_first_bad_entry_is_the_smallest_number() -> None:
    report = AuditReport(problems=[AuditProblem("stranger", "x"), AuditProblem("hash", "y", 9)])
    assert report.first_bad_seq == 9
    assert not report.ok
