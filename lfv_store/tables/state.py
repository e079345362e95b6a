"""Rows that change: runs, hostings and leases, which are audited, and working state, which is not.

Working state is what a run needs to continue or what can be derived from the facts: pending items,
the planning mark, lease heartbeats, and the tallies that keep the summary views fast.
"""

from __future__ import annotations

from datetime import date, datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from lfv_store.records.hostings import HOSTING_STATUSES
from lfv_store.records.runs import RUN_STATUSES
from lfv_store.tables.base import (
    Base,
    Id,
    JsonList,
    JsonValue,
    OptionalJson,
    key_of,
    one_of,
    partial_index,
)

LEASE_ENDS = ("released", "expired")


class RunTable(Base):
    """An inspection run."""

    __tablename__ = "runs"

    id: Mapped[Id]
    run_id: Mapped[str] = mapped_column(unique=True)
    model_id: Mapped[int | None] = mapped_column(sa.ForeignKey("models.id"), index=True)
    project_name: Mapped[str]
    model_version: Mapped[str]
    host: Mapped[str]
    source: Mapped[str]
    manifest_sha256: Mapped[str | None]
    manifest_lines: Mapped[int | None]
    policy_id: Mapped[int] = mapped_column(sa.ForeignKey("policies.id"))
    current_decision: Mapped[int]
    # Id of the current decision if it is not the first, so that the views find its verdicts without
    # a join. Not a foreign key, because decisions refer to runs already.
    later_decision_id: Mapped[int | None]
    triggered_by: Mapped[str]
    flow_run_id: Mapped[str | None] = mapped_column(index=True)
    code_version: Mapped[str]
    parameters: Mapped[JsonValue]
    # Number of files that were not inspected, by reason; NULL until the source is listed.
    skipped: Mapped[OptionalJson]
    status: Mapped[str]
    message: Mapped[str | None]
    started_at: Mapped[datetime] = mapped_column(index=True)
    finished_at: Mapped[datetime | None]

    __table_args__ = (one_of("status", RUN_STATUSES),)


class RunProgressTable(Base):
    """Working state: how far a run's manifest is planned and its inspections are tallied.

    The tallies include inspections with ids up to `counted_through`.
    """

    __tablename__ = "run_progress"

    run_id: Mapped[int] = key_of("runs.id")
    planned_through: Mapped[int]
    counted_through: Mapped[int]


class PendingItemTable(Base):
    """Working state: a manifest line that waits for an answer."""

    __tablename__ = "pending_items"

    run_id: Mapped[int] = key_of("runs.id")
    line_number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    duplicate: Mapped[bool]
    source_ref: Mapped[str]
    image_sha256: Mapped[str]
    image_format: Mapped[str]
    image_width: Mapped[int]
    image_height: Mapped[int]
    image_size_bytes: Mapped[int]
    attributes: Mapped[JsonValue]
    expected_is_anomalous: Mapped[bool | None]
    expected_mask_ref: Mapped[str | None]

    __table_args__ = (
        sa.Index(None, "run_id", "duplicate", "line_number"),
        # Of lines with the same bytes only one is not a duplicate, so finding it takes one step.
        partial_index("ix_pending_items_first", "run_id", "image_sha256", where="NOT duplicate"),
        {"sqlite_with_rowid": False},
    )


class TallyTable(Base):
    """Working state: inspections of a run by current outcome and UTC day.

    The outcome is the last review's, else the current decision's. `parts_*` count an image only the
    first time that the model version judged it. lfv_store/tallies.py maintains the rows, and
    `audit verify` recounts them.
    """

    __tablename__ = "tallies"

    run_id: Mapped[int] = key_of("runs.id")
    day: Mapped[date] = mapped_column(primary_key=True)
    accepted: Mapped[int]
    rejected: Mapped[int]
    review: Mapped[int]
    errors: Mapped[int]
    reused: Mapped[int]
    asked: Mapped[int]
    parts_accepted: Mapped[int]
    parts_rejected: Mapped[int]
    parts_review: Mapped[int]

    __table_args__ = ({"sqlite_with_rowid": False},)


class AnswerTallyTable(Base):
    """Working state: answers of a run by confidence and current verdict.

    `step` is the confidence in hundredths, rounded down. Maintained and checked like `tallies`.
    """

    __tablename__ = "answer_tallies"

    run_id: Mapped[int] = key_of("runs.id")
    is_anomalous: Mapped[bool] = mapped_column(primary_key=True)
    step: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    verdict: Mapped[str] = mapped_column(primary_key=True)
    images: Mapped[int]

    __table_args__ = ({"sqlite_with_rowid": False},)


class AnomalyTallyTable(Base):
    """Working state: images of a run by anomaly type, with the type's colour."""

    __tablename__ = "anomaly_tallies"

    run_id: Mapped[int] = key_of("runs.id")
    name: Mapped[str] = mapped_column(primary_key=True)
    color: Mapped[str | None]
    images: Mapped[int]

    __table_args__ = ({"sqlite_with_rowid": False},)


class HostingTable(Base):
    """A period for which a model is up."""

    __tablename__ = "hostings"

    id: Mapped[Id]
    model_id: Mapped[int] = mapped_column(sa.ForeignKey("models.id"))
    status: Mapped[str]
    owned: Mapped[bool]
    client_token: Mapped[str] = mapped_column(unique=True)
    host_spec: Mapped[JsonValue]
    min_units: Mapped[int]
    max_units: Mapped[int | None]
    price_per_unit_hour: Mapped[float]
    requested_by: Mapped[str]
    requested_at: Mapped[datetime]
    hosted_at: Mapped[datetime | None]
    stop_requested_at: Mapped[datetime | None]
    stopped_at: Mapped[datetime | None]
    message: Mapped[str | None]
    stop_attempts: Mapped[int]
    stop_error: Mapped[str | None]
    claimed_by: Mapped[str | None]
    claimed_until: Mapped[datetime | None]

    __table_args__ = (
        one_of("status", HOSTING_STATUSES),
        sa.CheckConstraint("min_units >= 1", name="min_units"),
        sa.CheckConstraint("price_per_unit_hour >= 0", name="price_per_unit_hour"),
        partial_index(
            "uq_hostings_open",
            "model_id",
            where="status IN ('requested', 'hosted', 'stop_requested')",
            unique=True,
        ),
        sa.Index(None, "model_id", "requested_at"),
    )


class LeaseTable(Base):
    """One run's claim on a hosting."""

    __tablename__ = "leases"

    id: Mapped[Id]
    hosting_id: Mapped[int] = mapped_column(sa.ForeignKey("hostings.id"), index=True)
    run_id: Mapped[int] = mapped_column(sa.ForeignKey("runs.id"), index=True)
    acquired_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    end_reason: Mapped[str | None]

    __table_args__ = (
        one_of("end_reason", LEASE_ENDS),
        sa.CheckConstraint("(ended_at IS NULL) = (end_reason IS NULL)", name="ended"),
    )


class HostingUsageTable(Base):
    """A run's use of a hosting, to share costs and to separate working from idle time.

    An answer counts for the hosting of the run's newest lease at the time of storing.
    """

    __tablename__ = "hosting_usage"

    id: Mapped[Id]
    hosting_id: Mapped[int] = mapped_column(sa.ForeignKey("hostings.id"))
    run_id: Mapped[int] = mapped_column(sa.ForeignKey("runs.id"))
    images: Mapped[int]
    first_answer_at: Mapped[datetime]
    last_answer_at: Mapped[datetime]

    __table_args__ = (sa.UniqueConstraint("run_id", "hosting_id"),)


class LeaseHeartbeatTable(Base):
    """Working state: the last heartbeat for a lease, and when the lease expires.

    Once `called_off`, the processes that work for the run must finish.
    """

    __tablename__ = "lease_heartbeats"

    lease_id: Mapped[int] = key_of("leases.id")
    beat_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    ttl_seconds: Mapped[float]
    called_off: Mapped[bool] = mapped_column(sa.Boolean(), server_default=sa.false())


class ModelPaceTable(Base):
    """Working state: the capacity found for a model, from which the next run starts."""

    __tablename__ = "model_paces"

    model_id: Mapped[int] = key_of("models.id")
    in_flight: Mapped[int]
    inference_units: Mapped[int]
    latency_ms: Mapped[float]
    measured_at: Mapped[datetime]


class RunWorkerTable(Base):
    """Working state: a process that shares a run's detection, and the lines that it has claimed.

    Others take the lines after `expires_at`. `ending` and `message` are the reason if it ended its
    work early.
    """

    __tablename__ = "run_workers"

    run_id: Mapped[int] = key_of("runs.id")
    worker: Mapped[str] = mapped_column(primary_key=True)
    expires_at: Mapped[datetime]
    images: Mapped[int]
    claims: Mapped[JsonList]
    ending: Mapped[str | None]
    message: Mapped[str | None]

    __table_args__ = ({"sqlite_with_rowid": False},)
