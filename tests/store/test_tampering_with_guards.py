"""Changed triggers, views and tables are detected."""

# ruff: noqa: S608 -- an attacker does not use parameters

from __future__ import annotations

import pytest
from sqlalchemy.engine import Connection

from lfv_store import Store
from lfv_store.audit.guards import APPEND_ONLY
from lfv_store.audit.log import verify
from lfv_store.dialects import dialect_of
from lfv_store.views import costs, definitions, results
from tests.support.tampering import attempt, cover_up, tampering

ON_POSTGRESQL = pytest.mark.parametrize("full", ["postgresql"], indirect=True)


def test_a_missing_trigger_is_detected(full: Store) -> None:
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
def test_a_replaced_trigger_is_detected(full: Store, table: str) -> None:
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
def test_a_trigger_function_that_does_nothing_is_detected(full: Store) -> None:
    with tampering(full) as conn:
        conn.exec_driver_sql(
            "CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql"
            " AS $$ BEGIN RETURN NULL; END $$"
        )
        report = verify(conn)
    assert {problem.table for problem in report.problems} == set(APPEND_ONLY)


@pytest.mark.parametrize("view", [name for name, _ in (*results.VIEWS, *costs.VIEWS)])
def test_a_replaced_view_is_detected(full: Store, view: str) -> None:
    def replace(conn: Connection) -> None:
        _, _, select = dict(definitions(dialect_of(conn)))[view].partition(" AS\n")
        create = "CREATE OR REPLACE VIEW"
        if conn.dialect.name == "sqlite":
            conn.exec_driver_sql(f"DROP VIEW {view}")
            create = "CREATE VIEW"
        conn.exec_driver_sql(f"{create} {view} AS SELECT * FROM ({select}) rows LIMIT 1")

    (problem,) = attempt(full, replace).problems
    assert (problem.kind, problem.table) == ("view", view)


def test_a_missing_view_is_detected(full: Store) -> None:
    def drop(conn: Connection) -> None:
        conn.exec_driver_sql("DROP VIEW review_queue")

    (problem,) = attempt(full, drop).problems
    assert (problem.kind, problem.table) == ("view", "review_queue")


@ON_POSTGRESQL
def test_an_account_that_cannot_check_the_views_reports_it(full: Store) -> None:
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
def test_a_missing_table_is_detected(full: Store, table: str) -> None:
    with tampering(full) as conn:
        cover_up(conn)
        cascade = "" if conn.dialect.name == "sqlite" else " CASCADE"
        conn.exec_driver_sql(f"DROP TABLE {table}{cascade}")
        report = verify(conn)
    problem = report.problems[0]
    assert (problem.kind, problem.table) == ("table", table)


def test_a_view_in_place_of_a_table_is_detected(full: Store) -> None:
    """It could show the true rows to a verification, and others to everybody else."""
    with tampering(full) as conn:
        conn.exec_driver_sql("ALTER TABLE reviews RENAME TO kept_reviews")
        conn.exec_driver_sql("CREATE VIEW reviews AS SELECT * FROM kept_reviews")
        report = verify(conn)
    assert ("table", "reviews") in {(problem.kind, problem.table) for problem in report.problems}


@ON_POSTGRESQL
def test_row_level_security_is_detected(full: Store) -> None:
    def hide(conn: Connection) -> None:
        conn.exec_driver_sql("ALTER TABLE reviews ENABLE ROW LEVEL SECURITY")

    (problem,) = attempt(full, hide).problems
    assert (problem.kind, problem.table) == ("guard", "reviews")
