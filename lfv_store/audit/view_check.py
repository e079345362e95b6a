"""Checks that the views, which auditors read, are those of this release."""

from __future__ import annotations

from sqlalchemy.engine import Connection

from lfv_store.audit.verification import AuditReport, Findings
from lfv_store.dialects import dialect_of
from lfv_store.dialects.base import Unchecked
from lfv_store.views import definitions


def check_views(conn: Connection, report: AuditReport, findings: Findings) -> None:
    """Report views that are missing or were replaced."""
    dialect = dialect_of(conn)
    found = dialect.views(conn)
    for name, definition in definitions(dialect):
        try:
            expected = dialect.stored_view(conn, name, definition)
        except Unchecked:
            report.unchecked = (
                "the views were not checked: that needs a temporary view, which this account or"
                " server does not allow"
            )
            return
        if expected is None or found.get(name) != expected:
            findings.add(
                "view",
                f"the view {name} is not the one of this release: its rows prove nothing",
                table=name,
            )
