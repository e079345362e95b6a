"""Checks that complement the chain: tables, triggers, and numbers that digests cannot see."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from lfv_store.audit.layouts import LAYOUTS
from lfv_store.audit.verification import Findings
from lfv_store.dialects import dialect_of
from lfv_store.tables import Base

#: The tables whose rows are never changed or deleted.
APPEND_ONLY = (
    "models",
    "trainings",
    "approvals",
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

_TALLIES = ("tallies", "answer_tallies", "anomaly_tallies")
_TABLES = (*LAYOUTS, "masks", *_TALLIES, "audit_log")


def check_tables(conn: Connection, findings: Findings) -> bool:
    """Report missing tables; return whether all exist, so that rows can be checked.

    Also reports a view in place of a table, and row-level security: either could show this check
    other rows than it shows other users.
    """
    found = dialect_of(conn).tables(conn)
    for table in _TABLES:
        if table not in found:
            findings.add("table", f"the table {table} is gone, or is not a table", table=table)
        elif found[table]:
            findings.add(
                "guard",
                f"row-level security is on for {table}: not every account sees the same rows",
                table=table,
            )
    return found.keys() >= set(_TABLES)


def check_triggers(conn: Connection, findings: Findings) -> None:
    """Report protective triggers that are missing, disabled or altered."""
    dialect = dialect_of(conn)
    found = dialect.triggers(conn)
    for table in APPEND_ONLY:
        for trigger, statement in dialect.append_only_triggers.items():
            name, text = trigger.format(table=table), statement.format(table=table)
            if found.get(name) != text:
                findings.add(
                    "guard",
                    f"the trigger {name}, which protects {table} from changes, is not in force",
                    table=table,
                )


def check_figures(conn: Connection, findings: Findings) -> None:
    """Report NaN and infinity in nullable columns, where a digest takes them for empty.

    JSON cannot express them, and the store never writes them.
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
                    f"{table}: the {name} of the row with id {row} is not a number",
                    table=table,
                    row_id=row,
                )
