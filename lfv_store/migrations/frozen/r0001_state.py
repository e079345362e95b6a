"""Revision 0001: models, runs, hostings, working state and the audit log. Frozen."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_UTC = sa.DateTime(timezone=True).with_variant(sa.Text(), "sqlite")
_BYTEWISE = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_JSON = sa.JSON(none_as_null=True)


def create_runs() -> None:
    op.create_table(
        "models",
        sa.Column("id", _BIG, autoincrement=False, nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("model_arn", sa.Text(), nullable=False),
        sa.Column("project_name", sa.Text(), nullable=False),
        sa.Column("model_version", sa.Text(), nullable=False),
        sa.Column("created_at", _UTC, nullable=True),
        sa.Column("facts", _JSON, nullable=False),
        sa.Column("registered_at", _UTC, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_models"),
        sa.UniqueConstraint(
            "host",
            "model_arn",
            "project_name",
            "model_version",
            "created_at",
            name="uq_models_identity",
        ),
    )
    op.create_index(
        "ix_models_project_name_model_version",
        "models",
        ["project_name", "model_version"],
        unique=False,
    )
    op.create_table(
        "policies",
        sa.Column("id", _BIG, autoincrement=False, nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("content", _JSON, nullable=False),
        sa.Column("stored_at", _UTC, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_policies"),
        sa.UniqueConstraint("sha256", name="uq_policies_sha256"),
    )
    op.create_table(
        "runs",
        sa.Column("id", _BIG, autoincrement=False, nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("model_id", _BIG, nullable=True),
        sa.Column("project_name", sa.Text(), nullable=False),
        sa.Column("model_version", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("manifest_sha256", sa.Text(), nullable=True),
        sa.Column("manifest_lines", _BIG, nullable=True),
        sa.Column("policy_id", _BIG, nullable=False),
        sa.Column("current_decision", _BIG, nullable=False),
        sa.Column("later_decision_id", _BIG, nullable=True),
        sa.Column("triggered_by", sa.Text(), nullable=False),
        sa.Column("flow_run_id", sa.Text(), nullable=True),
        sa.Column("code_version", sa.Text(), nullable=False),
        sa.Column("parameters", _JSON, nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("started_at", _UTC, nullable=False),
        sa.Column("finished_at", _UTC, nullable=True),
        sa.CheckConstraint(
            "status IN ('running', 'completed', 'failed', 'cancelled', 'crashed', 'interrupted')",
            name="ck_runs_status",
        ),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name="fk_runs_model_id"),
        sa.ForeignKeyConstraint(["policy_id"], ["policies.id"], name="fk_runs_policy_id"),
        sa.PrimaryKeyConstraint("id", name="pk_runs"),
        sa.UniqueConstraint("run_id", name="uq_runs_run_id"),
    )
    op.create_index("ix_runs_flow_run_id", "runs", ["flow_run_id"], unique=False)
    op.create_index("ix_runs_model_id", "runs", ["model_id"], unique=False)
    op.create_index("ix_runs_started_at", "runs", ["started_at"], unique=False)
    op.create_table(
        "decisions",
        sa.Column("id", _BIG, autoincrement=False, nullable=False),
        sa.Column("run_id", _BIG, nullable=False),
        sa.Column("number", _BIG, nullable=False),
        sa.Column("policy_id", _BIG, nullable=False),
        sa.Column("decided_by", sa.Text(), nullable=False),
        sa.Column("decided_at", _UTC, nullable=False),
        sa.ForeignKeyConstraint(["policy_id"], ["policies.id"], name="fk_decisions_policy_id"),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_decisions_run_id"),
        sa.PrimaryKeyConstraint("id", name="pk_decisions"),
        sa.UniqueConstraint("run_id", "number", name="uq_decisions_run_id_number"),
    )
    op.create_table(
        "audit_log",
        sa.Column("seq", _BIG, autoincrement=False, nullable=False),
        sa.Column("change", _BIG, nullable=False),
        sa.Column("at", _UTC, nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("content", _JSON, nullable=False),
        sa.Column("previous", sa.Text(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_audit_log"),
        sa.UniqueConstraint("change", name="uq_audit_log_change"),
    )
    op.create_index("ix_audit_log_subject", "audit_log", ["subject"], unique=False)


def create_hostings() -> None:
    op.create_table(
        "hostings",
        sa.Column("id", _BIG, autoincrement=False, nullable=False),
        sa.Column("model_id", _BIG, nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("owned", sa.Boolean(), nullable=False),
        sa.Column("client_token", sa.Text(), nullable=False),
        sa.Column("host_spec", _JSON, nullable=False),
        sa.Column("min_units", _BIG, nullable=False),
        sa.Column("max_units", _BIG, nullable=True),
        sa.Column("price_per_unit_hour", sa.Double(), nullable=False),
        sa.Column("billed_from", sa.Text(), nullable=False),
        sa.Column("billed_to", sa.Text(), nullable=False),
        sa.Column("requested_by", sa.Text(), nullable=False),
        sa.Column("requested_at", _UTC, nullable=False),
        sa.Column("hosted_at", _UTC, nullable=True),
        sa.Column("stop_requested_at", _UTC, nullable=True),
        sa.Column("stopped_at", _UTC, nullable=True),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("stop_attempts", _BIG, nullable=False),
        sa.Column("stop_error", sa.Text(), nullable=True),
        sa.Column("claimed_by", sa.Text(), nullable=True),
        sa.Column("claimed_until", _UTC, nullable=True),
        sa.CheckConstraint(
            "billed_from IN ('requested', 'hosted')", name="ck_hostings_billed_from"
        ),
        sa.CheckConstraint(
            "billed_to IN ('stop_requested', 'stopped')", name="ck_hostings_billed_to"
        ),
        sa.CheckConstraint(
            "status IN ('requested', 'hosted', 'stop_requested', 'stopped', 'failed', 'left')",
            name="ck_hostings_status",
        ),
        sa.CheckConstraint("min_units >= 1", name="ck_hostings_min_units"),
        sa.CheckConstraint("price_per_unit_hour >= 0", name="ck_hostings_price_per_unit_hour"),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name="fk_hostings_model_id"),
        sa.PrimaryKeyConstraint("id", name="pk_hostings"),
        sa.UniqueConstraint("client_token", name="uq_hostings_client_token"),
    )
    op.create_index(
        "ix_hostings_model_id_requested_at", "hostings", ["model_id", "requested_at"], unique=False
    )
    op.create_index(
        "uq_hostings_open",
        "hostings",
        ["model_id"],
        unique=True,
        sqlite_where=sa.text("status IN ('requested', 'hosted', 'stop_requested')"),
        postgresql_where=sa.text("status IN ('requested', 'hosted', 'stop_requested')"),
    )
    op.create_table(
        "leases",
        sa.Column("id", _BIG, autoincrement=False, nullable=False),
        sa.Column("hosting_id", _BIG, nullable=False),
        sa.Column("run_id", _BIG, nullable=False),
        sa.Column("acquired_at", _UTC, nullable=False),
        sa.Column("ended_at", _UTC, nullable=True),
        sa.Column("end_reason", sa.Text(), nullable=True),
        sa.CheckConstraint("end_reason IN ('released', 'expired')", name="ck_leases_end_reason"),
        sa.CheckConstraint("(ended_at IS NULL) = (end_reason IS NULL)", name="ck_leases_ended"),
        sa.ForeignKeyConstraint(["hosting_id"], ["hostings.id"], name="fk_leases_hosting_id"),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_leases_run_id"),
        sa.PrimaryKeyConstraint("id", name="pk_leases"),
    )
    op.create_index("ix_leases_hosting_id", "leases", ["hosting_id"], unique=False)
    op.create_index("ix_leases_run_id", "leases", ["run_id"], unique=False)
    op.create_table(
        "lease_heartbeats",
        sa.Column("lease_id", _BIG, autoincrement=False, nullable=False),
        sa.Column("beat_at", _UTC, nullable=False),
        sa.Column("expires_at", _UTC, nullable=False),
        sa.Column("ttl_seconds", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["lease_id"], ["leases.id"], name="fk_lease_heartbeats_lease_id"),
        sa.PrimaryKeyConstraint("lease_id", name="pk_lease_heartbeats"),
    )
    op.create_table(
        "hosting_usage",
        sa.Column("id", _BIG, autoincrement=False, nullable=False),
        sa.Column("hosting_id", _BIG, nullable=False),
        sa.Column("run_id", _BIG, nullable=False),
        sa.Column("images", _BIG, nullable=False),
        sa.Column("first_answer_at", _UTC, nullable=False),
        sa.Column("last_answer_at", _UTC, nullable=False),
        sa.ForeignKeyConstraint(
            ["hosting_id"], ["hostings.id"], name="fk_hosting_usage_hosting_id"
        ),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_hosting_usage_run_id"),
        sa.PrimaryKeyConstraint("id", name="pk_hosting_usage"),
        sa.UniqueConstraint("run_id", "hosting_id", name="uq_hosting_usage_run_id_hosting_id"),
    )


def create_working_state() -> None:
    op.create_table(
        "run_progress",
        sa.Column("run_id", _BIG, autoincrement=False, nullable=False),
        sa.Column("planned_through", _BIG, nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_run_progress_run_id"),
        sa.PrimaryKeyConstraint("run_id", name="pk_run_progress"),
    )
    op.create_table(
        "pending_items",
        sa.Column("run_id", _BIG, autoincrement=False, nullable=False),
        sa.Column("line_number", _BIG, autoincrement=False, nullable=False),
        sa.Column("duplicate", sa.Boolean(), nullable=False),
        sa.Column("source_ref", sa.Text(), nullable=False),
        sa.Column("image_sha256", sa.Text(), nullable=False),
        sa.Column("image_format", sa.Text(), nullable=False),
        sa.Column("image_width", _BIG, nullable=False),
        sa.Column("image_height", _BIG, nullable=False),
        sa.Column("image_size_bytes", _BIG, nullable=False),
        sa.Column("attributes", _JSON, nullable=False),
        sa.Column("expected_is_anomalous", sa.Boolean(), nullable=True),
        sa.Column("expected_mask_ref", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_pending_items_run_id"),
        sa.PrimaryKeyConstraint("run_id", "line_number", name="pk_pending_items"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_pending_items_run_id_duplicate_line_number",
        "pending_items",
        ["run_id", "duplicate", "line_number"],
        unique=False,
    )
    op.create_index(
        "ix_pending_items_run_id_image_sha256",
        "pending_items",
        ["run_id", "image_sha256"],
        unique=False,
    )
    op.create_table(
        "tallies",
        sa.Column("run_id", _BIG, autoincrement=False, nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("accepted", _BIG, nullable=False),
        sa.Column("rejected", _BIG, nullable=False),
        sa.Column("review", _BIG, nullable=False),
        sa.Column("errors", _BIG, nullable=False),
        sa.Column("reused", _BIG, nullable=False),
        sa.Column("asked", _BIG, nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_tallies_run_id"),
        sa.PrimaryKeyConstraint("run_id", "day", name="pk_tallies"),
        sqlite_with_rowid=False,
    )
