"""Whatever is done to the records behind the store's back is found, or needs a kept head."""

# ruff: noqa: S608 -- an attacker does not use parameters

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from lfv_store import Store, open_store
from lfv_store.audit.canonical import lines_digest, lines_marks, row_lines
from lfv_store.audit.guards import APPEND_ONLY
from lfv_store.audit.layouts import BULK, LAYOUTS, digested
from lfv_store.audit.log import verify
from lfv_store.audit.report import AuditHead, AuditReport
from lfv_store.dialects import dialect_of
from lfv_store.tables import Base
from lfv_store.views import costs, definitions, results
from tests.support.databases import PostgresServer
from tests.support.store_samples import a_run
from tests.support.tampering import (
    another_value,
    cover_up,
    fill,
    key_of,
    nothing,
    rehash,
    tampering,
    where,
)

AUDITED = (*LAYOUTS, "masks", "audit_log", "tallies")
ON_POSTGRESQL = pytest.mark.parametrize("full", ["postgresql"], indirect=True)


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
    working_state = {"pending_items", "run_progress", "lease_heartbeats", "sessions"}
    working_state |= {"review_leases", "second_reviews", "model_paces"}
    working_state |= {"watermark_sources", "watermark_objects", "watermark_runs"}
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


def test_the_last_entry_with_a_hash_of_its_own_needs_a_kept_head(full: Store) -> None:
    head = full.audit.head()
    assert head is not None

    def change(conn: Connection) -> None:
        conn.exec_driver_sql(f"UPDATE audit_log SET actor = 'nobody' WHERE seq = {head.seq}")
        rehash(conn)

    assert attempt(full, change).ok  # no entry comes after it that would not fit
    assert [problem.kind for problem in attempt(full, change, head).problems] == ["head"]


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


@pytest.mark.parametrize("table", APPEND_ONLY)
def test_a_trigger_that_was_replaced_is_found(full: Store, table: str) -> None:
    with tampering(full) as conn:
        if conn.dialect.name == "sqlite":
            cover_up(conn)
            for event in ("update", "delete"):
                conn.exec_driver_sql(f"DROP TRIGGER {table}_no_{event}")
                conn.exec_driver_sql(
                    f"CREATE TRIGGER {table}_no_{event} BEFORE {event} ON {table} WHEN 0"
                    f" BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
                )
        else:
            conn.exec_driver_sql(f"DROP TRIGGER {table}_append_only ON {table}")
            conn.exec_driver_sql(
                f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}"
                " FOR EACH STATEMENT WHEN (false) EXECUTE FUNCTION refuse_change()"
            )
        report = verify(conn)
    assert {(problem.kind, problem.table) for problem in report.problems} == {("guard", table)}


@ON_POSTGRESQL
def test_a_trigger_function_that_does_nothing_is_found(full: Store) -> None:
    with tampering(full) as conn:
        conn.exec_driver_sql(
            "CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql"
            " AS $$ BEGIN RETURN NULL; END $$"
        )
        report = verify(conn)
    assert {problem.table for problem in report.problems} == set(APPEND_ONLY)


@pytest.mark.parametrize("view", [name for name, _ in (*results.VIEWS, *costs.VIEWS)])
def test_a_view_that_was_replaced_is_found(full: Store, view: str) -> None:
    def replace(conn: Connection) -> None:
        _, _, select = dict(definitions(dialect_of(conn)))[view].partition(" AS\n")
        create = "CREATE OR REPLACE VIEW"
        if conn.dialect.name == "sqlite":
            conn.exec_driver_sql(f"DROP VIEW {view}")
            create = "CREATE VIEW"
        conn.exec_driver_sql(f"{create} {view} AS SELECT * FROM ({select}) rows LIMIT 1")

    (problem,) = attempt(full, replace).problems
    assert (problem.kind, problem.table) == ("view", view)


def test_a_view_that_is_gone_is_found(full: Store) -> None:
    def drop(conn: Connection) -> None:
        conn.exec_driver_sql("DROP VIEW review_queue")

    (problem,) = attempt(full, drop).problems
    assert (problem.kind, problem.table) == ("view", "review_queue")


@ON_POSTGRESQL
def test_an_account_that_may_not_look_at_the_views_is_told_so(full: Store) -> None:
    role = "lfv_test_reader"
    with tampering(full) as conn:
        conn.exec_driver_sql(f"CREATE ROLE {role}")  # rolled back with the rest
        conn.exec_driver_sql(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")
        conn.exec_driver_sql(f"SET LOCAL ROLE {role}")
        allowed = verify(conn)
        conn.exec_driver_sql("RESET ROLE")
        conn.exec_driver_sql(
            f"REVOKE TEMPORARY ON DATABASE {full.database.url.database} FROM PUBLIC"
        )
        conn.exec_driver_sql(f"SET LOCAL ROLE {role}")
        refused = verify(conn)
    assert (allowed.problems, allowed.unchecked) == ([], None)
    assert refused.ok
    assert refused.unchecked is not None
    assert refused.unchecked.startswith("the views were not checked")


@pytest.mark.parametrize("table", ["reviews", "masks", "tallies"])
def test_a_table_that_is_gone_is_found(full: Store, table: str) -> None:
    with tampering(full) as conn:
        cover_up(conn)
        cascade = "" if conn.dialect.name == "sqlite" else " CASCADE"
        conn.exec_driver_sql(f"DROP TABLE {table}{cascade}")
        report = verify(conn)
    problem = report.problems[0]
    assert (problem.kind, problem.table) == ("table", table)


def test_a_view_in_the_place_of_a_table_is_found(full: Store) -> None:
    """It could give the true rows to whoever verifies, and others to everybody else."""
    with tampering(full) as conn:
        conn.exec_driver_sql("ALTER TABLE reviews RENAME TO kept_reviews")
        conn.exec_driver_sql("CREATE VIEW reviews AS SELECT * FROM kept_reviews")
        report = verify(conn)
    assert ("table", "reviews") in {(problem.kind, problem.table) for problem in report.problems}


@ON_POSTGRESQL
def test_rows_that_not_everybody_sees_are_found(full: Store) -> None:
    def hide(conn: Connection) -> None:
        conn.exec_driver_sql("ALTER TABLE reviews ENABLE ROW LEVEL SECURITY")

    (problem,) = attempt(full, hide).problems
    assert (problem.kind, problem.table) == ("guard", "reviews")


ODD_VALUES = {
    "sqlite": [
        ("inspections", "source_ref", "CAST(source_ref AS BLOB)"),
        ("inspections", "source_ref", "CAST(x'ff' AS TEXT)"),
        ("inspection_attributes", "value", "x'ff'"),
        ("runs", "source", "CAST(source AS BLOB)"),
        ("runs", "source", "CAST(x'ff' AS TEXT)"),
        ("audit_log", "content", "CAST(content AS BLOB)"),
        ("audit_log", "actor", "CAST(x'ff' AS TEXT)"),
        ("masks", "png", "'text'"),
        ("masks", "png", "CAST(x'ff' AS TEXT)"),
        ("detections", "latency_ms", "9e999"),
        ("hostings", "claimed_until", "'infinity'"),
    ],
    "postgresql": [
        ("detections", "latency_ms", "'infinity'"),
        ("detections", "latency_ms", "'NaN'"),
        ("hostings", "claimed_until", "'infinity'"),
        ("models", "created_at", "'-infinity'"),
        ("reviews", "reviewed_at", "(reviewed_at::text || ' BC')::timestamptz"),
        ("audit_log", "at", "(at::text || ' BC')::timestamptz"),
    ],
}


@pytest.mark.parametrize(
    ("full", "table", "column", "value"),
    [(database, *odd) for database, values in ODD_VALUES.items() for odd in values],
    ids=[f"{database}-{n}" for database, values in ODD_VALUES.items() for n in range(len(values))],
    indirect=["full"],
)
def test_values_that_the_store_never_writes_are_found(
    full: Store, table: str, column: str, value: str
) -> None:
    def change(conn: Connection) -> None:
        row = where(conn, table, 0)
        conn.exec_driver_sql(f"UPDATE {table} SET {column} = {value} WHERE {row}")

    def fill_in(conn: Connection) -> None:
        conn.exec_driver_sql(f"UPDATE {table} SET {column} = {value} WHERE {column} IS NULL")

    assert table in tables_named(attempt(full, change))
    with full.database.read() as conn:
        empty = conn.exec_driver_sql(f"SELECT 1 FROM {table} WHERE {column} IS NULL").first()
    if empty is not None:
        assert table in tables_named(attempt(full, fill_in))


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
        conn.exec_driver_sql(
            "UPDATE tallies SET rejected = rejected + accepted, accepted = 0,"
            " parts_rejected = parts_rejected + parts_accepted, parts_accepted = 0"
        )
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
