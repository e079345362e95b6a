"""Whatever is done to the records behind the store's back is found, or needs a kept head."""

# ruff: noqa: S608 -- an attacker does not use parameters

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
import sqlalchemy as sa
from databases import PostgresServer
from sqlalchemy.engine import Connection
from store_samples import a_run
from tampering import another_value, cover_up, fill, key_of, nothing, rehash, tampering, where

from lfv_store import Store, open_store
from lfv_store.audit.canonical import lines_digest, lines_marks, row_lines
from lfv_store.audit.guards import APPEND_ONLY
from lfv_store.audit.layouts import BULK, LAYOUTS, canonical_columns
from lfv_store.audit.log import verify
from lfv_store.audit.report import AuditHead, AuditReport
from lfv_store.tables import Base

AUDITED = (*LAYOUTS, "masks", "audit_log", "tallies")


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def full(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Store]:
    """A store with rows in every audited table, and an intact trail. All tampering is undone."""
    with ExitStack() as stack:
        if request.param == "sqlite":
            url = f"sqlite:///{tmp_path_factory.mktemp('full') / 'store.db'}"
        else:
            server: PostgresServer = request.getfixturevalue("postgresql_server")
            url = stack.enter_context(server.database())
        store = stack.enter_context(open_store(url))
        fill(store)
        report = store.audit.verify()
        assert report.ok, report.problems
        yield store
        report = store.audit.verify()
        assert report.ok, report.problems


def attempt(
    store: Store, tamper: Callable[[Connection], None], head: AuditHead | None = None
) -> AuditReport:
    """The report on what somebody did who put the triggers back afterwards."""
    with tampering(store) as conn:
        tamper(conn)
        cover_up(conn)
        return verify(conn, head)


def tables_named(report: AuditReport) -> set[str | None]:
    return {problem.table for problem in report.problems}


def test_every_table_and_column_is_covered() -> None:
    working_state = {"pending_items", "run_progress", "lease_heartbeats"}
    assert set(Base.metadata.tables) == {*AUDITED, *working_state}
    for table, layout in LAYOUTS.items():
        assert set(layout.columns) == set(Base.metadata.tables[table].c.keys()), table
    assert set(APPEND_ONLY) <= set(AUDITED)


@pytest.mark.parametrize("table", AUDITED)
def test_a_changed_column_is_found(full: Store, table: str) -> None:
    columns = list(Base.metadata.tables[table].c)
    for column in columns:
        for position in (0, -1):

            def change(conn: Connection, column: sa.Column[object] = column) -> None:
                row = where(conn, table, position)  # noqa: B023
                value = another_value(column, conn.dialect.name)
                conn.exec_driver_sql(f"UPDATE {table} SET {column.name} = {value} WHERE {row}")

            report = attempt(full, change)
            assert table in tables_named(report), (table, column.name, position, report.problems)


@pytest.mark.parametrize("table", AUDITED)
def test_an_emptied_column_is_found(full: Store, table: str) -> None:
    columns = [c.name for c in Base.metadata.tables[table].c if not c.primary_key]
    with full.database.read() as conn:
        sqlite = conn.dialect.name == "sqlite"
        nullable = {c["name"] for c in sa.inspect(conn).get_columns(table) if c["nullable"]}
    for name in columns:
        if sqlite and name not in nullable:
            continue  # SQLite cannot drop NOT NULL; the test on PostgreSQL covers it

        def empty(conn: Connection, name: str = name) -> None:
            nothing(conn, table, name)
            conn.exec_driver_sql(f"UPDATE {table} SET {name} = NULL WHERE {name} IS NOT NULL")

        with full.database.read() as conn:
            filled = conn.exec_driver_sql(f"SELECT count({name}) FROM {table}").scalar()
        if filled:
            report = attempt(full, empty)
            assert table in tables_named(report), (table, name, report.problems)


@pytest.mark.parametrize("table", AUDITED)
@pytest.mark.parametrize("position", [0, 1, -1], ids=["first", "middle", "last"])
def test_a_deleted_row_is_found(full: Store, table: str, position: int) -> None:
    def delete(conn: Connection) -> None:
        row = where(conn, table, position)
        conn.exec_driver_sql(f"DELETE FROM {table} WHERE {row}")

    report = attempt(full, delete)
    named = tables_named(report)
    if table == "audit_log" and position == -1:
        assert named, report  # the log itself is one entry shorter; what it spoke of gives it away
        assert named != {"audit_log"}
    else:
        assert table in named, report.problems


@pytest.mark.parametrize("table", AUDITED)
@pytest.mark.parametrize("shift", [1, 5_000_000], ids=["beside", "far"])
def test_an_inserted_row_is_found(full: Store, table: str, shift: int) -> None:
    key = key_of(table)[0]
    unique = {
        column.name
        for constraint in Base.metadata.tables[table].constraints
        if isinstance(constraint, sa.UniqueConstraint)
        for column in constraint.columns
        if isinstance(column.type, sa.Text)
    }
    numbers = {"change", "number", "line_number", "decision_id"}
    if table == "hosting_usage":
        numbers.add("hosting_id")

    def insert(conn: Connection) -> None:
        row = where(conn, table, -1)
        names = list(Base.metadata.tables[table].c.keys())
        values = [
            f"{name} + {shift}"
            if name == key or (name in numbers and table != "verdicts")
            else (f"{name} + 1" if name == "decision_id" else f"{name} || 'x'")
            if name in unique or name == "decision_id"
            else name
            for name in names
        ]
        conn.exec_driver_sql(
            f"INSERT INTO {table} ({', '.join(names)}) SELECT {', '.join(values)}"
            f" FROM {table} WHERE {row}"
        )

    report = attempt(full, insert)
    assert table in tables_named(report), report.problems


@pytest.mark.parametrize("table", [*BULK, "reviews", "audit_log"])
def test_two_rows_that_changed_places_are_found(full: Store, table: str) -> None:
    key = key_of(table)[0] if table not in ("anomalies", "inspection_attributes") else None

    def swap(conn: Connection) -> None:
        if key is None:  # exchange what two rows say
            column = "color" if table == "anomalies" else "value"
            one, two = where(conn, table, 0), where(conn, table, 1)
            values = [
                conn.exec_driver_sql(f"SELECT {column} FROM {table} WHERE {row}").scalar()
                for row in (one, two)
            ]
            for row, value in ((one, values[1]), (two, values[0])):
                conn.exec_driver_sql(f"UPDATE {table} SET {column} = '{value}' WHERE {row}")
            return
        ids = conn.exec_driver_sql(f"SELECT {key} FROM {table} ORDER BY {key} LIMIT 2").scalars()
        one_id, two_id = ids.all()
        for old, new in ((one_id, -1), (two_id, one_id), (-1, two_id)):
            conn.exec_driver_sql(f"UPDATE {table} SET {key} = {new} WHERE {key} = {old}")

    report = attempt(full, swap)
    assert table in tables_named(report), report.problems


def test_a_problem_names_the_entry_and_the_row(full: Store) -> None:
    def change(conn: Connection) -> None:
        conn.exec_driver_sql(
            "UPDATE inspections SET verdict = 'accept' WHERE verdict = 'reject'"
            " AND line_number = 2 AND run_id = 2"
        )

    with full.database.read() as conn:
        wanted = conn.exec_driver_sql(
            "SELECT id FROM inspections WHERE line_number = 2 AND run_id = 2"
        ).scalar_one()
        seq = conn.exec_driver_sql(
            f"SELECT seq FROM audit_log WHERE change = {wanted // 1_000_000}"
        ).scalar_one()
    report = attempt(full, change)
    (problem,) = report.problems
    assert (problem.kind, problem.table) == ("rows", "inspections")
    assert (problem.seq, problem.row_id) == (seq, wanted)
    assert f"entry {seq}" in problem.message
    assert report.first_bad_seq == seq


def test_an_entry_with_a_hash_of_its_own_breaks_the_next_link(full: Store) -> None:
    def change(conn: Connection) -> None:
        conn.exec_driver_sql("UPDATE audit_log SET actor = 'nobody' WHERE seq = 7")
        row = conn.exec_driver_sql("SELECT hash FROM audit_log WHERE seq = 8").scalar_one()
        rehash(conn)
        conn.execute(sa.text("UPDATE audit_log SET hash = :hash WHERE seq = 8"), {"hash": row})

    report = attempt(full, change)
    assert report.first_bad_seq == 8
    assert {problem.seq for problem in report.problems} == {8, 9}


def test_a_missing_trigger_is_found(full: Store) -> None:
    with tampering(full) as conn:
        if conn.dialect.name == "sqlite":
            gone = len(conn.info["triggers"])
        else:
            conn.exec_driver_sql("DROP TRIGGER reviews_append_only ON reviews")
            conn.exec_driver_sql("ALTER TABLE models DISABLE TRIGGER models_append_only")
            gone = 2
        report = verify(conn, max_problems=100)
        assert len(report.problems) == gone
        assert {problem.kind for problem in report.problems} == {"guard"}


def test_a_ruined_log_gives_a_readable_report(full: Store) -> None:
    def ruin(conn: Connection) -> None:
        conn.exec_driver_sql("UPDATE audit_log SET hash = 'x'")

    report = attempt(full, ruin)
    assert len(report.problems) == 20
    assert report.more_problems


def cut_off(conn: Connection, last: int) -> None:
    """Remove the entries behind `last` and every row they brought, leaving a consistent whole."""
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


def test_a_cut_off_end_needs_a_kept_head(full: Store) -> None:
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
        conn.exec_driver_sql("UPDATE tallies SET rejected = accepted, accepted = 0")
        columns = ", ".join(canonical_columns("verdicts", conn.dialect.name))
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
        '{"rows":[["models",99999999999,1,"x"],["nothing",1,1,"x"]]}',
    ],
)
def test_nonsense_in_an_entry_is_found_and_survived(full: Store, content: str) -> None:
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
