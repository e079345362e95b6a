"""Facts: rows that are written once. Triggers prevent changes.

Rows of the bulk tables have ids `change number * 1,000,000 + position`. Integer division therefore
leads from any row to the audit entry (`audit_log.change`) that vouches for it.
"""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from lfv_store.records.base import VERDICTS
from lfv_store.records.reviews import REVIEW_KINDS
from lfv_store.tables.base import (
    BYTEWISE,
    Base,
    Id,
    JsonList,
    JsonText,
    JsonValue,
    OptionalJson,
    key_of,
    one_of,
    partial_index,
)


class ModelTable(Base):
    """A model version, wherever it is hosted."""

    __tablename__ = "models"

    id: Mapped[Id]
    host: Mapped[str]
    model_arn: Mapped[str]
    project_name: Mapped[str]
    model_version: Mapped[str]
    created_at: Mapped[datetime | None]
    facts: Mapped[JsonValue]
    registered_at: Mapped[datetime]

    __table_args__ = (
        sa.UniqueConstraint(
            "host",
            "model_arn",
            "project_name",
            "model_version",
            "created_at",
            name="uq_models_identity",
        ),
        sa.Index(None, "project_name", "model_version"),
    )


class TrainingTable(Base):
    """A training of a model version: its data, who started it, and its figures."""

    __tablename__ = "trainings"

    id: Mapped[Id]
    model_id: Mapped[int] = mapped_column(sa.ForeignKey("models.id"), index=True)
    source: Mapped[str]
    test_source: Mapped[str | None]
    manifest_sha256: Mapped[str | None]
    test_manifest_sha256: Mapped[str | None]
    images: Mapped[JsonValue]
    figures: Mapped[JsonValue]
    remarks: Mapped[JsonText]
    trained_by: Mapped[str]
    trained_at: Mapped[datetime]
    code_version: Mapped[str]


class ApprovalTable(Base):
    """A model version approved for its project; one without a model withdraws the approval."""

    __tablename__ = "approvals"

    id: Mapped[Id]
    host: Mapped[str]
    project_name: Mapped[str]
    model_id: Mapped[int | None] = mapped_column(sa.ForeignKey("models.id"), index=True)
    decided_by: Mapped[str]
    decided_at: Mapped[datetime]
    reason: Mapped[str]
    comparison: Mapped[OptionalJson]
    signature: Mapped[OptionalJson]

    __table_args__ = (
        sa.Index(None, "project_name", "host"),
        sa.CheckConstraint("decided_by <> ''", name="decided_by"),
        sa.CheckConstraint("reason <> ''", name="reason"),
    )


class PolicyTable(Base):
    """A verdict policy, identified by its content."""

    __tablename__ = "policies"

    id: Mapped[Id]
    sha256: Mapped[str] = mapped_column(unique=True)
    content: Mapped[JsonValue]
    stored_at: Mapped[datetime]


class DecisionTable(Base):
    """A policy applied to all inspections of a run; number 1 is the run's own."""

    __tablename__ = "decisions"

    id: Mapped[Id]
    run_id: Mapped[int] = mapped_column(sa.ForeignKey("runs.id"))
    number: Mapped[int]
    policy_id: Mapped[int] = mapped_column(sa.ForeignKey("policies.id"))
    decided_by: Mapped[str]
    decided_at: Mapped[datetime]
    reason: Mapped[str]
    signature: Mapped[OptionalJson]

    __table_args__ = (sa.UniqueConstraint("run_id", "number"),)


class ImageTable(Base):
    """An inspected image, identified by its SHA-256. Its bytes are not stored."""

    __tablename__ = "images"

    id: Mapped[Id]
    sha256: Mapped[str] = mapped_column(BYTEWISE, unique=True)
    format: Mapped[str]
    width: Mapped[int]
    height: Mapped[int]
    size_bytes: Mapped[int]


class DetectionTable(Base):
    """A model's answer to an image."""

    __tablename__ = "detections"

    id: Mapped[Id]
    model_id: Mapped[int] = mapped_column(sa.ForeignKey("models.id"))
    image_id: Mapped[int] = mapped_column(sa.ForeignKey("images.id"))
    run_id: Mapped[int] = mapped_column(sa.ForeignKey("runs.id"))
    is_anomalous: Mapped[bool]
    confidence: Mapped[float]
    response: Mapped[JsonValue]
    mask_sha256: Mapped[str | None]
    request_id: Mapped[str | None]
    latency_ms: Mapped[float | None]
    detected_at: Mapped[datetime]

    __table_args__ = (
        sa.CheckConstraint("confidence >= 0 AND confidence <= 1", name="confidence"),
        sa.Index(None, "image_id", "model_id"),
        partial_index("ix_detections_with_mask", "id", where="mask_sha256 IS NOT NULL"),
    )


class MaskTable(Base):
    """The anomaly mask of a detection: a PNG. The detection holds its SHA-256."""

    __tablename__ = "masks"

    detection_id: Mapped[int] = key_of("detections.id")
    png: Mapped[bytes]


class AnomalyTable(Base):
    """One anomaly of a segmentation answer, `background` included."""

    __tablename__ = "anomalies"

    detection_id: Mapped[int] = key_of("detections.id")
    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    name: Mapped[str]
    total_percentage_area: Mapped[float]
    color: Mapped[str | None]

    __table_args__ = (
        sa.Index(None, "name", "total_percentage_area"),
        {"sqlite_with_rowid": False},
    )


class InspectionTable(Base):
    """The outcome of one manifest line in one run: a first verdict or an error."""

    __tablename__ = "inspections"

    id: Mapped[Id]
    run_id: Mapped[int] = mapped_column(sa.ForeignKey("runs.id"))
    line_number: Mapped[int]
    source_ref: Mapped[str]
    image_id: Mapped[int | None] = mapped_column(sa.ForeignKey("images.id"))
    detection_id: Mapped[int | None] = mapped_column(sa.ForeignKey("detections.id"))
    reused: Mapped[bool]
    verdict: Mapped[str | None]
    reasons: Mapped[JsonList]
    error_code: Mapped[str | None]
    error_message: Mapped[str | None]
    attempts: Mapped[int]
    attributes: Mapped[JsonValue]
    expected_is_anomalous: Mapped[bool | None]
    expected_mask_ref: Mapped[str | None]
    inspected_at: Mapped[datetime]

    __table_args__ = (
        sa.UniqueConstraint("run_id", "line_number"),
        one_of("verdict", VERDICTS),
        sa.CheckConstraint("(verdict IS NULL) <> (error_code IS NULL)", name="verdict_or_error"),
        sa.CheckConstraint(
            "verdict IS NULL OR detection_id IS NOT NULL", name="verdict_has_answer"
        ),
        sa.Index(None, "image_id"),
        sa.Index(None, "detection_id"),
        sa.Index(None, "inspected_at"),
        partial_index(
            "ix_inspections_waiting", "run_id", "line_number", where="verdict = 'review'"
        ),
        partial_index(
            "ix_inspections_rejected", "run_id", "line_number", where="verdict = 'reject'"
        ),
        partial_index(
            "ix_inspections_errors", "run_id", "error_code", where="error_code IS NOT NULL"
        ),
    )


class InspectionAttributeTable(Base):
    """An inspection's attributes as rows, so that one index finds any of them.

    Holds the content of `inspections.attributes`: scalars as text, other values as JSON text.
    """

    __tablename__ = "inspection_attributes"

    inspection_id: Mapped[int] = key_of("inspections.id")
    name: Mapped[str] = mapped_column(BYTEWISE, primary_key=True)
    value: Mapped[str] = mapped_column(BYTEWISE)

    __table_args__ = (
        sa.Index(None, "name", "value"),
        {"sqlite_with_rowid": False},
    )


class VerdictTable(Base):
    """A verdict of a later decision (number 2 and up). The inspection holds the first one."""

    __tablename__ = "verdicts"

    id: Mapped[Id]
    decision_id: Mapped[int] = mapped_column(sa.ForeignKey("decisions.id"))
    inspection_id: Mapped[int] = mapped_column(sa.ForeignKey("inspections.id"))
    verdict: Mapped[str]
    reasons: Mapped[JsonList]

    __table_args__ = (
        sa.UniqueConstraint("inspection_id", "decision_id"),
        one_of("verdict", VERDICTS),
        sa.Index(None, "decision_id", "verdict"),
    )


class ReviewTable(Base):
    """A person's verdict on an inspection. The last of several counts.

    The verdict `review` leaves the part undecided. `shown` records what the person saw, `signature`
    what they signed by entering their password again. `token` identifies repeated requests.
    """

    __tablename__ = "reviews"

    id: Mapped[Id]
    inspection_id: Mapped[int] = mapped_column(sa.ForeignKey("inspections.id"), index=True)
    verdict: Mapped[str]
    reviewer: Mapped[str] = mapped_column(index=True)
    comment: Mapped[str]
    reviewed_at: Mapped[datetime] = mapped_column(index=True)
    kind: Mapped[str]
    reason: Mapped[str]
    shown: Mapped[OptionalJson]
    signature: Mapped[OptionalJson]
    token: Mapped[str | None] = mapped_column(unique=True)

    __table_args__ = (
        one_of("verdict", VERDICTS),
        one_of("kind", REVIEW_KINDS),
        partial_index("ix_reviews_undecided", "inspection_id", where="verdict = 'review'"),
        sa.CheckConstraint("reviewer <> ''", name="reviewer"),
    )


class AuditLogTable(Base):
    """The hash chain. docs/audit.md explains its columns and what the chain proves."""

    __tablename__ = "audit_log"

    seq: Mapped[Id]
    change: Mapped[int] = mapped_column(unique=True)
    at: Mapped[datetime]
    actor: Mapped[str]
    action: Mapped[str]
    subject: Mapped[str] = mapped_column(index=True)
    content: Mapped[JsonValue]
    previous: Mapped[str]
    hash: Mapped[str]
