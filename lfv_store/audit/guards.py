"""Checks beside the chain: tables, triggers, and the tallies against the inspections."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from lfv_store.audit.layouts import LAYOUTS
from lfv_store.audit.report import Findings
from lfv_store.tables import Base

APPEND_ONLY = (
    "models",
    "policies",
    "decisions",
    "images",
    "detections",
    "masks",
    "anomalies",
    "inspections",
    "inspection_attributes",
    "verdicts",
    "reviews",
    "audit_log",
)
"""The tables whose rows are never changed or deleted."""

_TABLES = (*LAYOUTS, "masks", "tallies", "audit_log")
_SQLITE_TABLES = "SELECT name, 0 FROM sqlite_master WHERE type = 'table'"
_POSTGRES_TABLES = (
    "SELECT relname, relrowsecurity FROM pg_class"
    " WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace"
)

_SQLITE_TRIGGERS = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"
# 58: BEFORE (2), DELETE (8), UPDATE (16) or TRUNCATE (32), once for the statement; of any column,
# without a condition; and the function still says what the migration had it say.
_POSTGRES_TRIGGERS = """
SELECT t.tgname, regexp_replace(trim(f.prosrc), '\\s+', ' ', 'g')
FROM pg_trigger t
JOIN pg_class c ON c.oid = t.tgrelid
JOIN pg_proc f ON f.oid = t.tgfoid
JOIN pg_language l ON l.oid = f.prolang
WHERE NOT t.tgisinternal AND t.tgenabled IN ('O', 'A') AND t.tgtype = 58 AND t.tgqual IS NULL
  AND t.tgattr = '' AND l.lanname = 'plpgsql' AND c.relnamespace = current_schema()::regnamespace
"""
_POSTGRES_FUNCTION = (
    "BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME"
    " USING ERRCODE = 'integrity_constraint_violation'; END"
)

TALLY_COUNTS = """
    count(CASE WHEN verdict = 'accept' THEN 1 END) AS accepted,
    count(CASE WHEN verdict = 'reject' THEN 1 END) AS rejected,
    count(CASE WHEN verdict = 'review' THEN 1 END) AS review,
    count(CASE WHEN verdict IS NULL THEN 1 END) AS errors,
    count(CASE WHEN reused THEN 1 END) AS reused,
    count(CASE WHEN detection_id IS NOT NULL AND NOT reused THEN 1 END) AS asked
"""
"""SQL: what the tallies count, over lines with verdict, reused and detection_id."""

_TALLIES = """
WITH lines AS (
    SELECT i.run_id, {day} AS day, i.verdict, i.reused, i.detection_id
    FROM inspections i JOIN runs r ON r.id = i.run_id AND r.later_decision_id IS NULL
    UNION ALL
    SELECT i.run_id, {day}, coalesce(v.verdict, i.verdict), i.reused, i.detection_id
    FROM runs r
    JOIN inspections i ON i.run_id = r.id
    LEFT JOIN verdicts v ON v.inspection_id = i.id AND v.decision_id = r.later_decision_id
    WHERE r.later_decision_id IS NOT NULL
), counted AS (
    SELECT run_id, day, {counts} FROM lines GROUP BY run_id, day
), told AS (
    SELECT run_id, day, accepted, rejected, review, errors, reused, asked FROM tallies
)
SELECT run_id, day FROM (SELECT * FROM counted EXCEPT SELECT * FROM told) missing
UNION
SELECT run_id, day FROM (SELECT * FROM told EXCEPT SELECT * FROM counted) extra
ORDER BY 1, 2 LIMIT 10
"""


def utc_day_sql(dialect: str, column: str) -> str:
    """SQL for the UTC calendar day of a time column, as the tallies have it."""
    if dialect == "sqlite":
        return f"substr({column}, 1, 10)"
    return f"({column} AT TIME ZONE 'UTC')::date"


def check_tables(conn: Connection, findings: Findings) -> bool:
    """Whether all tables are there, so that rows can be checked; finds those that are not.

    A view in a table's place, or row-level security, could show one thing to this check and another
    to somebody else, and is found too.
    """
    sqlite = conn.dialect.name == "sqlite"
    rows = conn.exec_driver_sql(_SQLITE_TABLES if sqlite else _POSTGRES_TABLES)
    found: dict[str, bool] = {name: bool(filtered) for name, filtered in rows}
    for table in _TABLES:
        if table not in found:
            findings.add("table", f"the table {table} is gone, or is no table", table=table)
        elif found[table]:
            findings.add(
                "guard",
                f"row-level security is on for {table}: not everybody sees the same rows",
                table=table,
            )
    return found.keys() >= set(_TABLES)


def check_triggers(conn: Connection, findings: Findings) -> None:
    """Find protective triggers that are gone, disabled, or other than the migration made them."""
    sqlite = conn.dialect.name == "sqlite"
    rows = conn.exec_driver_sql(_SQLITE_TRIGGERS if sqlite else _POSTGRES_TRIGGERS)
    found: dict[str, str] = {name: " ".join(text.split()) for name, text in rows}
    for table in APPEND_ONLY:
        for name, text in _triggers(table, sqlite=sqlite).items():
            if found.get(name) != text:
                findings.add(
                    "guard",
                    f"the trigger {name}, which keeps {table} as it was written, is not in force",
                    table=table,
                )


def _triggers(table: str, *, sqlite: bool) -> dict[str, str]:
    """A table's triggers by name: what they say on SQLite, what their function says elsewhere."""
    if not sqlite:
        return {f"{table}_append_only": _POSTGRES_FUNCTION}
    return {
        f"{table}_no_{event.lower()}": f"CREATE TRIGGER {table}_no_{event.lower()} BEFORE {event}"
        f" ON {table} BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
        for event in ("UPDATE", "DELETE")
    }


def check_figures(conn: Connection, findings: Findings) -> None:
    """Find figures that are no numbers (NaN, infinity) where a row's digest sees nothing at all.

    JSON has no word for them, and the store writes none. Only a column that may be empty can hide
    one.
    """
    for table, layout in LAYOUTS.items():
        columns = Base.metadata.tables[table].c
        for name in layout.columns:
            if not isinstance(columns[name].type, sa.Double) or not columns[name].nullable:
                continue
            row = conn.exec_driver_sql(
                f"SELECT min(id) FROM {table} WHERE abs({name}) > 1.7976931348623157e308"  # noqa: S608
            ).scalar()
            if row is not None:
                findings.add(
                    "row",
                    f"{table}: the {name} of the row with id {row} is no number",
                    table=table,
                    row_id=row,
                )


def check_tallies(conn: Connection, findings: Findings) -> None:
    """Count inspections again and compare with the tallies that the summary views add up."""
    day = utc_day_sql(conn.dialect.name, "i.inspected_at")
    for run, on in conn.exec_driver_sql(_TALLIES.format(day=day, counts=TALLY_COUNTS)):
        findings.add(
            "tally",
            f"tallies: the counts of run number {run} on {on} do not fit its inspections",
            table="tallies",
            row_id=run,
        )
