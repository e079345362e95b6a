"""Revision 0001: images, answers, inspections, verdicts and reviews. Frozen."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_UTC = sa.DateTime(timezone=True).with_variant(sa.Text(), "sqlite")
_BYTEWISE = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_JSON = sa.JSON(none_as_null=True)


def create_answers() -> None:
    op.create_table(
        "images",
        sa.Column("id", _BIG, autoincrement=False, nullable=False),
        sa.Column("sha256", _BYTEWISE, nullable=False),
        sa.Column("format", sa.Text(), nullable=False),
        sa.Column("width", _BIG, nullable=False),
        sa.Column("height", _BIG, nullable=False),
        sa.Column("size_bytes", _BIG, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_images"),
        sa.UniqueConstraint("sha256", name="uq_images_sha256"),
    )
    op.create_table(
        "detections",
        sa.Column("id", _BIG, autoincrement=False, nullable=False),
        sa.Column("model_id", _BIG, nullable=False),
        sa.Column("image_id", _BIG, nullable=False),
        sa.Column("run_id", _BIG, nullable=False),
        sa.Column("is_anomalous", sa.Boolean(), nullable=False),
        sa.Column("confidence", sa.Double(), nullable=False),
        sa.Column("response", _JSON, nullable=False),
        sa.Column("mask_sha256", sa.Text(), nullable=True),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.Column("latency_ms", sa.Double(), nullable=True),
        sa.Column("detected_at", _UTC, nullable=False),
        sa.CheckConstraint("confidence >= 0 AND confidence <= 1", name="ck_detections_confidence"),
        sa.ForeignKeyConstraint(["image_id"], ["images.id"], name="fk_detections_image_id"),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name="fk_detections_model_id"),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_detections_run_id"),
        sa.PrimaryKeyConstraint("id", name="pk_detections"),
    )
    op.create_index(
        "ix_detections_image_id_model_id", "detections", ["image_id", "model_id"], unique=False
    )
    op.create_index(
        "ix_detections_with_mask",
        "detections",
        ["id"],
        unique=False,
        sqlite_where=sa.text("mask_sha256 IS NOT NULL"),
        postgresql_where=sa.text("mask_sha256 IS NOT NULL"),
    )
    op.create_table(
        "masks",
        sa.Column("detection_id", _BIG, autoincrement=False, nullable=False),
        sa.Column("png", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["detection_id"], ["detections.id"], name="fk_masks_detection_id"),
        sa.PrimaryKeyConstraint("detection_id", name="pk_masks"),
    )
    op.create_table(
        "anomalies",
        sa.Column("detection_id", _BIG, autoincrement=False, nullable=False),
        sa.Column("position", _BIG, autoincrement=False, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("total_percentage_area", sa.Double(), nullable=False),
        sa.Column("color", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["detection_id"], ["detections.id"], name="fk_anomalies_detection_id"
        ),
        sa.PrimaryKeyConstraint("detection_id", "position", name="pk_anomalies"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_anomalies_name_total_percentage_area",
        "anomalies",
        ["name", "total_percentage_area"],
        unique=False,
    )
    op.create_table(
        "inspections",
        sa.Column("id", _BIG, autoincrement=False, nullable=False),
        sa.Column("run_id", _BIG, nullable=False),
        sa.Column("line_number", _BIG, nullable=False),
        sa.Column("source_ref", sa.Text(), nullable=False),
        sa.Column("image_id", _BIG, nullable=True),
        sa.Column("detection_id", _BIG, nullable=True),
        sa.Column("reused", sa.Boolean(), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=True),
        sa.Column("reasons", _JSON, nullable=False),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("attempts", _BIG, nullable=False),
        sa.Column("attributes", _JSON, nullable=False),
        sa.Column("expected_is_anomalous", sa.Boolean(), nullable=True),
        sa.Column("expected_mask_ref", sa.Text(), nullable=True),
        sa.Column("inspected_at", _UTC, nullable=False),
        sa.CheckConstraint(
            "verdict IN ('accept', 'reject', 'review')", name="ck_inspections_verdict"
        ),
        sa.CheckConstraint(
            "(verdict IS NULL) <> (error_code IS NULL)", name="ck_inspections_verdict_or_error"
        ),
        sa.CheckConstraint(
            "verdict IS NULL OR detection_id IS NOT NULL", name="ck_inspections_verdict_has_answer"
        ),
        sa.ForeignKeyConstraint(
            ["detection_id"], ["detections.id"], name="fk_inspections_detection_id"
        ),
        sa.ForeignKeyConstraint(["image_id"], ["images.id"], name="fk_inspections_image_id"),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_inspections_run_id"),
        sa.PrimaryKeyConstraint("id", name="pk_inspections"),
        sa.UniqueConstraint("run_id", "line_number", name="uq_inspections_run_id_line_number"),
    )
    op.create_index("ix_inspections_detection_id", "inspections", ["detection_id"], unique=False)
    op.create_index(
        "ix_inspections_errors",
        "inspections",
        ["run_id", "error_code"],
        unique=False,
        sqlite_where=sa.text("error_code IS NOT NULL"),
        postgresql_where=sa.text("error_code IS NOT NULL"),
    )
    op.create_index("ix_inspections_image_id", "inspections", ["image_id"], unique=False)
    op.create_index("ix_inspections_inspected_at", "inspections", ["inspected_at"], unique=False)
    op.create_index(
        "ix_inspections_rejected",
        "inspections",
        ["run_id", "line_number"],
        unique=False,
        sqlite_where=sa.text("verdict = 'reject'"),
        postgresql_where=sa.text("verdict = 'reject'"),
    )
    op.create_index(
        "ix_inspections_waiting",
        "inspections",
        ["run_id", "line_number"],
        unique=False,
        sqlite_where=sa.text("verdict = 'review'"),
        postgresql_where=sa.text("verdict = 'review'"),
    )
    op.create_table(
        "inspection_attributes",
        sa.Column("inspection_id", _BIG, autoincrement=False, nullable=False),
        sa.Column("name", _BYTEWISE, nullable=False),
        sa.Column("value", _BYTEWISE, nullable=False),
        sa.ForeignKeyConstraint(
            ["inspection_id"], ["inspections.id"], name="fk_inspection_attributes_inspection_id"
        ),
        sa.PrimaryKeyConstraint("inspection_id", "name", name="pk_inspection_attributes"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_inspection_attributes_name_value",
        "inspection_attributes",
        ["name", "value"],
        unique=False,
    )
    op.create_table(
        "verdicts",
        sa.Column("id", _BIG, autoincrement=False, nullable=False),
        sa.Column("decision_id", _BIG, nullable=False),
        sa.Column("inspection_id", _BIG, nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("reasons", _JSON, nullable=False),
        sa.CheckConstraint("verdict IN ('accept', 'reject', 'review')", name="ck_verdicts_verdict"),
        sa.ForeignKeyConstraint(["decision_id"], ["decisions.id"], name="fk_verdicts_decision_id"),
        sa.ForeignKeyConstraint(
            ["inspection_id"], ["inspections.id"], name="fk_verdicts_inspection_id"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_verdicts"),
        sa.UniqueConstraint(
            "inspection_id", "decision_id", name="uq_verdicts_inspection_id_decision_id"
        ),
    )
    op.create_index(
        "ix_verdicts_decision_id_verdict", "verdicts", ["decision_id", "verdict"], unique=False
    )

    op.create_table(
        "reviews",
        sa.Column("id", _BIG, autoincrement=False, nullable=False),
        sa.Column("inspection_id", _BIG, nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("reviewer", sa.Text(), nullable=False),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.Column("reviewed_at", _UTC, nullable=False),
        sa.CheckConstraint("reviewer <> ''", name="ck_reviews_reviewer"),
        sa.CheckConstraint("verdict IN ('accept', 'reject')", name="ck_reviews_verdict"),
        sa.ForeignKeyConstraint(
            ["inspection_id"], ["inspections.id"], name="fk_reviews_inspection_id"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_reviews"),
    )
    op.create_index("ix_reviews_inspection_id", "reviews", ["inspection_id"], unique=False)
    op.create_index("ix_reviews_reviewed_at", "reviews", ["reviewed_at"], unique=False)
    op.create_index("ix_reviews_reviewer", "reviews", ["reviewer"], unique=False)
