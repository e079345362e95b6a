"""Reads the audit log in order, and checks that it is one unbroken chain."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy.engine import Connection

from lfv_store.audit.canonical import GENESIS, entry_hash
from lfv_store.audit.verification import AuditHead, AuditReport, Findings
from lfv_store.column_types import utc_datetime
from lfv_store.dialects import Dialect, dialect_of
from lfv_store.dialects.base import EntryFields
from lfv_store.tables import Base

#: Entries per page.
PAGE = 200
#: The action of entries about deletions, and the subject of those about masks.
PRUNED = "pruned"
PRUNED_MASKS = "masks"


@dataclass(frozen=True, slots=True)
class Entry(EntryFields):
    """An audit entry as stored, with its place in the chain."""

    seq: int
    previous: str
    hash: str

    def computed_hash(self) -> str:
        """Compute the hash from the other fields."""
        return entry_hash(
            self.seq,
            self.change,
            self.at,
            self.actor,
            self.action,
            self.subject,
            self.content,
            self.previous,
        )

    def parsed(self) -> dict[str, Any]:
        """Parse the content; empty if it is not JSON, when the hash does not match either."""
        try:
            content = orjson.loads(self.content)
        except (orjson.JSONDecodeError, TypeError):
            return {}
        return content if isinstance(content, dict) else {}


def pruned_masks(entry: Entry, content: Mapping[str, Any]) -> set[int]:
    """Return the detections whose masks were deleted with a signature, according to an entry."""
    if (entry.action, entry.subject) != (PRUNED, PRUNED_MASKS):
        return set()
    match content.get("facts"):
        case {"masks": list(masks), "signature": {"by": str(by), "reason": str(reason)}} if (
            by and reason
        ):
            return {mask for mask in masks if isinstance(mask, int)}
    return set()


def entry_columns(dialect: Dialect) -> str:
    """Return SQL for the columns of an Entry, in its order."""
    columns = Base.metadata.tables["audit_log"].c
    return ", ".join(dialect.canonical(columns[field.name]) for field in fields(Entry))


def pages(conn: Connection) -> Iterator[list[Entry]]:
    """Yield pages of entries, by number."""
    dialect = dialect_of(conn)
    sql = (
        f"SELECT {entry_columns(dialect)} FROM audit_log WHERE seq > ?"  # noqa: S608
        f" ORDER BY seq LIMIT {PAGE}"
    )
    after = -(2**62)
    while page := [Entry(*row) for row in dialect.select_raw(conn, sql, after)]:
        yield page
        after = page[-1].seq


class ChainCheck:
    """Follows the chain entry by entry."""

    def __init__(self, report: AuditReport, findings: Findings, head: AuditHead | None) -> None:
        self._report = report
        self._findings = findings
        self._kept = head
        self._previous = GENESIS
        self._expected = 1

    def follow(self, entry: Entry) -> None:
        """Check an entry against its predecessor."""
        if entry.seq != self._expected:
            self._findings.add(
                "gap",
                f"entry {self._expected} is missing: the log continues with entry {entry.seq}",
                seq=self._expected,
                table="audit_log",
            )
        elif entry.previous != self._previous:
            self._findings.add(
                "link",
                f"entry {entry.seq} does not follow from entry {entry.seq - 1}",
                seq=entry.seq,
                table="audit_log",
            )
        if entry.hash != entry.computed_hash():
            self._findings.add(
                "hash",
                f"entry {entry.seq} ({entry.action} {entry.subject}) was changed:"
                " its content does not match its hash",
                seq=entry.seq,
                table="audit_log",
            )
        if self._kept is not None and entry.seq == self._kept.seq:
            self._report.head_checked = True
            if entry.hash != self._kept.hash:
                self._findings.add(
                    "head",
                    f"entry {entry.seq} is not the one whose hash was kept: the log was rewritten",
                    seq=entry.seq,
                    table="audit_log",
                )
        self._previous = entry.hash
        self._expected = entry.seq + 1
        self._report.entries += 1
        self._report.head = AuditHead(entry.seq, entry.hash, _time(entry.at))

    def finish(self) -> None:
        """Check that the log reaches as far as the kept head."""
        if self._kept is not None and not self._report.head_checked:
            self._findings.add(
                "truncated",
                f"the log ends at entry {self._expected - 1}, but entry {self._kept.seq} was kept:"
                " it was cut off",
                seq=self._expected,
                table="audit_log",
            )


def _time(text: str) -> datetime | None:
    try:
        return utc_datetime(text)
    except (ValueError, TypeError):
        return None
