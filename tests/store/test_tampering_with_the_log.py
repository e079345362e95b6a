"""Every change of the audit log is detected, some only with a kept head."""

# ruff: noqa: S608 -- an attacker does not use parameters

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from lfv_store import Store
from lfv_store.answer_tallies import AnswerKey, add_answers, stored_answers
from lfv_store.audit.canonical import lines_digest, lines_marks, row_lines
from lfv_store.audit.layouts import BULK, digested
from lfv_store.dialects import dialect_of
from lfv_store.tables import Base
from tests.support.store_samples import a_run
from tests.support.tampering import attempt, rehash, views_worded_once


@pytest.fixture(scope="module", autouse=True)
def views_as_they_are() -> Iterator[None]:
    """No test of this file changes a view."""
    with views_worded_once():
        yield


def test_an_entry_with_a_new_hash_breaks_the_next_link(full: Store) -> None:
    def change(conn: Connection) -> None:
        conn.exec_driver_sql("UPDATE audit_log SET actor = 'nobody' WHERE seq = 7")
        row = conn.exec_driver_sql("SELECT hash FROM audit_log WHERE seq = 8").scalar_one()
        rehash(conn)
        conn.execute(sa.text("UPDATE audit_log SET hash = :hash WHERE seq = 8"), {"hash": row})

    report = attempt(full, change)
    assert report.first_bad_seq == 8
    assert {problem.seq for problem in report.problems} == {8, 9}


def test_the_last_entry_with_a_new_hash_needs_a_kept_head(full: Store) -> None:
    head = full.audit.head()
    assert head is not None

    def change(conn: Connection) -> None:
        conn.exec_driver_sql(f"UPDATE audit_log SET actor = 'nobody' WHERE seq = {head.seq}")
        rehash(conn)

    assert attempt(full, change).ok  # no later entry contradicts it
    assert [problem.kind for problem in attempt(full, change, head).problems] == ["head"]


def test_a_damaged_log_has_a_readable_report(full: Store) -> None:
    def ruin(conn: Connection) -> None:
        conn.exec_driver_sql("UPDATE audit_log SET hash = 'x'")

    report = attempt(full, ruin)
    assert len(report.problems) == 20
    assert report.more_problems


def cut_off(conn: Connection, last: int) -> None:
    """Remove the entries after `last` with all their rows, leaving a consistent database."""
    content = conn.exec_driver_sql(
        f"SELECT change, CAST(content AS TEXT) FROM audit_log WHERE seq > {last}"
    ).all()
    for change, text in content:
        told = json.loads(text)
        for table in told.get("bulk", {}):
            key = BULK[table].key
            conn.exec_driver_sql(f"DELETE FROM {table} WHERE {key} / 1000000 = {change}")
        for table, row_id, _, _ in told.get("rows", []):
            conn.exec_driver_sql(f"DELETE FROM {table} WHERE id = {row_id}")
    conn.exec_driver_sql(f"DELETE FROM audit_log WHERE seq > {last}")


def test_a_removed_end_needs_a_kept_head(full: Store) -> None:
    before = full.audit.head()
    assert before is not None
    a_run(full, run_id="another", policy={"confidence": 0.1})
    head = full.audit.head()
    assert head is not None
    assert head.seq == before.seq + 1

    def cut(conn: Connection) -> None:
        conn.exec_driver_sql("DELETE FROM run_progress WHERE run_id = (SELECT max(id) FROM runs)")
        cut_off(conn, before.seq)

    without = attempt(full, cut)
    assert without.ok, without.problems
    with_head = attempt(full, cut, head)
    assert [problem.kind for problem in with_head.problems] == ["truncated"]
    assert f"entry {head.seq} was kept" in with_head.problems[0].message
    assert attempt(full, cut, before).ok


def test_a_complete_rewrite_needs_a_kept_head(full: Store) -> None:
    head = full.audit.head()
    assert head is not None

    def rewrite(conn: Connection) -> None:
        conn.exec_driver_sql("UPDATE verdicts SET verdict = 'reject'")
        conn.exec_driver_sql(
            "UPDATE tallies SET rejected = rejected + accepted, accepted = 0,"
            " parts_rejected = parts_rejected + parts_accepted, parts_accepted = 0"
        )
        for run in conn.exec_driver_sql("SELECT id FROM runs").scalars().all():
            rejected: Counter[AnswerKey] = Counter()
            for (is_anomalous, step, _), images in stored_answers(conn, run).items():
                rejected[is_anomalous, step, "reject"] += images
            conn.exec_driver_sql(f"DELETE FROM answer_tallies WHERE run_id = {run}")
            add_answers(conn, run, rejected, sign=1)
        columns = ", ".join(digested(BULK["verdicts"], dialect_of(conn)))
        for seq, change, text in conn.exec_driver_sql(
            "SELECT seq, change, CAST(content AS TEXT) FROM audit_log"
        ).all():
            told = json.loads(text)
            if "verdicts" not in told.get("bulk", {}):
                continue
            lines = row_lines(
                tuple(row)
                for row in conn.exec_driver_sql(
                    f"SELECT {columns} FROM verdicts WHERE id / 1000000 = {change} ORDER BY id"
                )
            )
            told["bulk"]["verdicts"]["sha256"] = lines_digest(lines)
            told["bulk"]["verdicts"]["marks"] = lines_marks(lines)
            conn.execute(
                sa.text("UPDATE audit_log SET content = :content WHERE seq = :seq"),
                {"content": json.dumps(told, separators=(",", ":"), sort_keys=True), "seq": seq},
            )
        rehash(conn)

    without = attempt(full, rewrite)
    assert without.ok, without.problems
    with_head = attempt(full, rewrite, head)
    assert [problem.kind for problem in with_head.problems] == ["head"]


def test_an_emptied_database_needs_a_kept_head(full: Store) -> None:
    head = full.audit.head()

    def truncate(conn: Connection) -> None:
        for table in reversed(Base.metadata.sorted_tables):
            conn.exec_driver_sql(f"DELETE FROM {table.name}")

    assert attempt(full, truncate).ok
    assert [problem.kind for problem in attempt(full, truncate, head).problems] == ["truncated"]


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        '"x"',
        "{}",
        '{"bulk":3,"rows":4}',
        '{"bulk":{"inspections":{"layout":1}},"rows":[[]]}',
        '{"bulk":{"inspections":{"layout":99,"marks":"","rows":1,"sha256":""}},"rows":[[1,2,3,4]]}',
        '{"bulk":{"inspections":{"layout":1,"marks":"?","rows":999999999,"sha256":""}}}',
        '{"bulk":{"inspections":{"layout":1,"marks":"AAA=","rows":-1,"sha256":""}}}',
        '{"bulk":{"inspections":{"layout":1,"marks":"A","rows":2,"sha256":""}}}',
        '{"bulk":{"inspections":{"layout":1,"marks":"é","rows":2,"sha256":""}}}',
        '{"bulk":{"inspections":{"layout":1,"marks":"","rows":18446744073709551615,"sha256":""}}}',
        '{"rows":[["models",99999999999,1,"x"],["nothing",1,1,"x"]]}',
        '{"rows":[["models",18446744073709551615,1,"x"]]}',
    ],
)
def test_an_invalid_entry_is_detected(full: Store, content: str) -> None:
    def write(conn: Connection) -> None:
        with full.database.read() as reader:
            seq = reader.exec_driver_sql(
                "SELECT max(seq) FROM audit_log WHERE action = 'inspections.recorded'"
            ).scalar()
        conn.execute(
            sa.text("UPDATE audit_log SET content = :content WHERE seq = :seq"),
            {"content": content, "seq": seq},
        )
        rehash(conn)

    assert not attempt(full, write).ok
