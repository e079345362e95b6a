"""The result of a verification, and the audit head."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime

from lfv_store.errors import InvalidRecord

_HEAD = re.compile(r"lfv-audit:(\d+):([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class AuditHead:
    """The end of the chain at some time, to be kept out of reach of the database's owner.

    Its text form is `lfv-audit:SEQ:HASH`.
    """

    seq: int
    hash: str
    at: datetime | None = None

    def __str__(self) -> str:
        return f"lfv-audit:{self.seq}:{self.hash}"

    @classmethod
    def parse(cls, text: str) -> AuditHead:
        """Parse the text form. Raises InvalidRecord."""
        match = _HEAD.fullmatch(text.strip())
        if match is None:
            raise InvalidRecord("an audit head looks like lfv-audit:NUMBER:64 hexadecimal digits")
        return cls(int(match[1]), match[2])


@dataclass(frozen=True, slots=True)
class AuditProblem:
    """A problem found. `seq` is the audit entry concerned, or None."""

    kind: str
    message: str
    seq: int | None = None
    table: str | None = None
    row_id: int | None = None


@dataclass(slots=True)
class AuditReport:
    """The result of a verification: ok when there are no problems. See docs/audit.md."""

    entries: int = 0
    rows: int = 0
    inspections: int = 0
    head: AuditHead | None = None
    head_checked: bool = False
    problems: list[AuditProblem] = field(default_factory=list)
    more_problems: bool = False
    #: What could not be checked, and why.
    unchecked: str | None = None

    @property
    def ok(self) -> bool:
        """Whether there are no problems."""
        return not self.problems

    @property
    def first_bad_seq(self) -> int | None:
        """The number of the first entry with a problem."""
        numbers = [problem.seq for problem in self.problems if problem.seq is not None]
        return min(numbers) if numbers else None


class Findings:
    """Collects problems up to a limit, so that the report of a ruined database is readable."""

    def __init__(self, report: AuditReport, limit: int) -> None:
        self._report = report
        self._limit = limit

    def add(
        self,
        kind: str,
        message: str,
        *,
        seq: int | None = None,
        table: str | None = None,
        row_id: int | None = None,
    ) -> None:
        """Add a problem, or note that there are more than the limit."""
        if len(self._report.problems) < self._limit:
            problem = AuditProblem(kind, message, seq, table, row_id)
            self._report.problems.append(problem)
        else:
            self._report.more_problems = True
