"""Runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, get_args

from lfv_store.records.base import JsonObject

RunStatus = Literal[
    "running",
    "completed",
    "failed",
    "cancelled",
    "crashed",
    "interrupted",  # ended cleanly by a limit before all lines were inspected; can be resumed
]
RUN_STATUSES: tuple[RunStatus, ...] = get_args(RunStatus)


@dataclass(frozen=True, slots=True)
class NewRun:
    """A run to start. `run_id` is a UUID string chosen by the caller."""

    run_id: str
    project_name: str
    model_version: str
    host: str
    source: str
    policy: JsonObject
    started_at: datetime
    model_id: int | None = None
    triggered_by: str = ""
    flow_run_id: str | None = None
    code_version: str = ""
    parameters: JsonObject = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run(NewRun):
    """A run as stored.

    `skipped` counts the source's files that were not inspected, by reason. It is None until the
    source is listed, and for runs of release 0.1.0.
    """

    policy_sha256: str
    skipped: dict[str, int] | None
    status: RunStatus
    message: str | None
    manifest_sha256: str | None
    manifest_lines: int | None
    planned_through: int
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class RunCounts:
    """A run's lines by current verdict; `total` = inspected + pending."""

    total: int
    accepted: int
    rejected: int
    review: int
    errors: int
    reused: int
    pending: int

    @property
    def inspected(self) -> int:
        """Lines that have an inspection record."""
        return self.judged + self.errors

    @property
    def judged(self) -> int:
        """Lines that have a verdict."""
        return self.accepted + self.rejected + self.review

    @property
    def reject_rate(self) -> float | None:
        """Rejected lines per line with a verdict, 0 to 1; None without a verdict."""
        return self.rejected / self.judged if self.judged else None
