"""`store.audit`: the head to keep, the entries to read, and the verification of everything."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from lfv_store.audit.batches import BatchCheck
from lfv_store.audit.entries import ChainCheck, Entry, pages
from lfv_store.audit.guards import check_figures, check_tables, check_triggers
from lfv_store.audit.rowwise import RowCheck
from lfv_store.audit.tallies import check_tallies
from lfv_store.audit.verification import AuditHead, AuditReport, Findings
from lfv_store.audit.view_check import check_views
from lfv_store.repository import Repository
from lfv_store.tables import AuditLogTable


class Audit(Repository):
    """Read access to the audit log, which every change writes."""

    def head(self) -> AuditHead | None:
        """Return the newest entry's number and hash, to keep elsewhere; None if there is none."""
        with self._database.read() as conn:
            newest = conn.execute(
                sa.select(AuditLogTable.seq, AuditLogTable.hash, AuditLogTable.at)
                .order_by(AuditLogTable.seq.desc())
                .limit(1)
            ).one_or_none()
        return None if newest is None else AuditHead(newest.seq, newest.hash, newest.at)

    def entries(self) -> Iterator[Entry]:
        """Stream all entries in order."""
        with self._database.snapshot() as conn:
            for page in pages(conn):
                yield from page

    def verify(
        self,
        head: AuditHead | str | None = None,
        *,
        progress: Callable[[int], None] | None = None,
    ) -> AuditReport:
        """Verify the log and all rows that it vouches for, in one snapshot and bounded memory.

        `head` is the head kept earlier; verification also checks that the log still contains it.
        Without it, a log that was truncated together with its rows, or rewritten as a whole, looks
        genuine. `progress` is called with the number of entries checked so far. Writers are not
        blocked, and what they add meanwhile is not checked.
        """
        kept = AuditHead.parse(head) if isinstance(head, str) else head
        with self._database.snapshot(read_only=False) as conn:  # see check_views()
            return verify(conn, kept, progress=progress)


def verify(
    conn: Connection,
    head: AuditHead | None = None,
    *,
    max_problems: int = 20,
    progress: Callable[[int], None] | None = None,
) -> AuditReport:
    """Verify what a connection's transaction sees; see Audit.verify()."""
    report = AuditReport()
    findings = Findings(report, max_problems)
    whole = check_tables(conn, findings)
    check_views(conn, report, findings)
    if not whole:
        return report
    chain = ChainCheck(report, findings, head)
    batches = BatchCheck(conn, report, findings)
    rows = RowCheck(conn, report, findings)
    for page in pages(conn):
        contents = []
        for entry in page:
            chain.follow(entry)
            content = entry.parsed()
            rows.collect(entry, content)
            contents.append((entry, content))
        batches.check(contents)
        if progress is not None:
            progress(report.entries)
    chain.finish()
    batches.finish()
    rows.finish()
    check_figures(conn, findings)
    check_triggers(conn, findings)
    check_tallies(conn, findings)
    report.problems.sort(key=lambda problem: problem.seq or 2**62)
    return report
