"""Checks beside the chain: are the triggers in place, do the tallies agree with the inspections?"""

from __future__ import annotations

from sqlalchemy.engine import Connection

from lfv_store.audit.report import Findings

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

_SQLITE_TRIGGERS = "SELECT name FROM sqlite_master WHERE type = 'trigger'"
_POSTGRES_TRIGGERS = (
    "SELECT tgname FROM pg_trigger JOIN pg_class c ON c.oid = tgrelid"
    " WHERE NOT tgisinternal AND tgenabled IN ('O', 'A')"
    " AND c.relnamespace = current_schema()::regnamespace"
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


def check_triggers(conn: Connection, findings: Findings) -> None:
    """Find protective triggers that are gone or disabled."""
    sqlite = conn.dialect.name == "sqlite"
    found = set(conn.exec_driver_sql(_SQLITE_TRIGGERS if sqlite else _POSTGRES_TRIGGERS).scalars())
    for table in APPEND_ONLY:
        names = (
            (f"{table}_no_update", f"{table}_no_delete") if sqlite else (f"{table}_append_only",)
        )
        for name in names:
            if name not in found:
                findings.add(
                    "guard",
                    f"the trigger {name}, which keeps {table} as it was written, is not in force",
                    table=table,
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
