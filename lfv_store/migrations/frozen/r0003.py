"""Revision 0003: its tables and statements. Frozen."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_UTC = sa.DateTime(timezone=True).with_variant(sa.Text(), "sqlite")
_JSON = sa.JSON(none_as_null=True)
_STATUSES = "status IN ('requested', 'hosted', 'stop_requested', 'stopped', 'left')"
_OPEN = sa.text("status IN ('requested', 'hosted', 'stop_requested')")
_HOSTINGS = (
    "id, model_id, status, owned, client_token, host_spec, min_units, max_units,"
    " price_per_unit_hour, requested_by, requested_at, hosted_at, stop_requested_at, stopped_at,"
    " message, stop_attempts, stop_error, claimed_by, claimed_until"
)
_NEVER_WRITTEN = (
    "SELECT count(*) FROM hostings WHERE status = 'failed' OR billed_from <> 'hosted'"
    " OR billed_to <> 'stopped'"
)
_COUNTED = """
INSERT INTO tallies (run_id, day, accepted, rejected, review, errors, reused, asked,
                     parts_accepted, parts_rejected, parts_review)
SELECT run_id, day,
       count(CASE WHEN outcome = 'accept' THEN 1 END),
       count(CASE WHEN outcome = 'reject' THEN 1 END),
       count(CASE WHEN outcome = 'review' THEN 1 END),
       count(CASE WHEN outcome IS NULL THEN 1 END),
       count(CASE WHEN reused THEN 1 END),
       count(CASE WHEN asked THEN 1 END),
       count(CASE WHEN outcome = 'accept' AND part THEN 1 END),
       count(CASE WHEN outcome = 'reject' AND part THEN 1 END),
       count(CASE WHEN outcome = 'review' AND part THEN 1 END)
FROM (
    SELECT i.run_id, {day} AS day, i.reused,
           coalesce((SELECT w.verdict FROM reviews w WHERE w.inspection_id = i.id
                     ORDER BY w.id DESC LIMIT 1), v.verdict, i.verdict) AS outcome,
           i.detection_id IS NOT NULL AND NOT i.reused AS asked,
           i.detection_id IS NOT NULL AND NOT i.reused AND NOT EXISTS (
               SELECT 1 FROM detections e WHERE e.image_id = d.image_id
               AND e.model_id = d.model_id AND e.id < d.id) AS part
    FROM inspections i
    JOIN runs r ON r.id = i.run_id
    LEFT JOIN detections d ON d.id = i.detection_id
    LEFT JOIN verdicts v ON v.inspection_id = i.id AND v.decision_id = r.later_decision_id
) lines
GROUP BY run_id, day
"""


def create_trainings() -> None:
    op.create_table(
        "trainings",
        sa.Column("id", _BIG, autoincrement=False, nullable=False),
        sa.Column("model_id", _BIG, nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("test_source", sa.Text(), nullable=True),
        sa.Column("manifest_sha256", sa.Text(), nullable=True),
        sa.Column("test_manifest_sha256", sa.Text(), nullable=True),
        sa.Column("images", _JSON, nullable=False),
        sa.Column("figures", _JSON, nullable=False),
        sa.Column("remarks", _JSON, nullable=False),
        sa.Column("trained_by", sa.Text(), nullable=False),
        sa.Column("trained_at", _UTC, nullable=False),
        sa.Column("code_version", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name="fk_trainings_model_id"),
        sa.PrimaryKeyConstraint("id", name="pk_trainings"),
    )
    op.create_index("ix_trainings_model_id", "trainings", ["model_id"], unique=False)
    if op.get_bind().dialect.name == "sqlite":
        for event in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER trainings_no_{event.lower()} BEFORE {event} ON trainings"
                " BEGIN SELECT RAISE(ABORT, 'trainings is append-only'); END"
            )
    else:
        op.execute(
            "CREATE TRIGGER trainings_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON trainings"
            " FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )


def shrink_hostings() -> None:
    """Drop billed_from, billed_to and the status `failed`, which nothing ever wrote."""
    if op.get_bind().scalar(sa.text(_NEVER_WRITTEN)):
        raise RuntimeError("hostings holds values that release 0.1.0 never wrote")
    if op.get_bind().dialect.name != "sqlite":
        op.drop_column("hostings", "billed_from")
        op.drop_column("hostings", "billed_to")
        # As 0001 named it.
        op.drop_constraint(op.f("ck_hostings_ck_hostings_status"), "hostings")
        op.create_check_constraint(op.f("ck_hostings_status"), "hostings", sa.text(_STATUSES))
        return
    # SQLite drops no column that a CHECK names, so the table is recreated.
    op.create_table(
        "hostings_0003",
        sa.Column("id", _BIG, autoincrement=False, nullable=False),
        sa.Column("model_id", _BIG, nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("owned", sa.Boolean(), nullable=False),
        sa.Column("client_token", sa.Text(), nullable=False),
        sa.Column("host_spec", _JSON, nullable=False),
        sa.Column("min_units", _BIG, nullable=False),
        sa.Column("max_units", _BIG, nullable=True),
        sa.Column("price_per_unit_hour", sa.Double(), nullable=False),
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
        sa.CheckConstraint(_STATUSES, name=op.f("ck_hostings_status")),
        sa.CheckConstraint("min_units >= 1", name=op.f("ck_hostings_min_units")),
        sa.CheckConstraint(
            "price_per_unit_hour >= 0", name=op.f("ck_hostings_price_per_unit_hour")
        ),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name="fk_hostings_model_id"),
        sa.PrimaryKeyConstraint("id", name="pk_hostings"),
        sa.UniqueConstraint("client_token", name="uq_hostings_client_token"),
    )
    op.execute(f"INSERT INTO hostings_0003 ({_HOSTINGS}) SELECT {_HOSTINGS} FROM hostings")  # noqa: S608
    op.drop_table("hostings")
    op.rename_table("hostings_0003", "hostings")
    op.create_index(
        "ix_hostings_model_id_requested_at", "hostings", ["model_id", "requested_at"], unique=False
    )
    op.create_index("uq_hostings_open", "hostings", ["model_id"], unique=True, sqlite_where=_OPEN)


def count_by_mark() -> None:
    """Count all runs by the current outcome, reviews included, and parts once."""
    op.add_column(
        "run_progress", sa.Column("counted_through", _BIG, nullable=False, server_default="0")
    )
    for name in ("parts_accepted", "parts_rejected", "parts_review"):
        op.add_column("tallies", sa.Column(name, _BIG, nullable=False, server_default="0"))
    sqlite = op.get_bind().dialect.name == "sqlite"
    day = "substr(i.inspected_at, 1, 10)"
    if not sqlite:
        day = "(i.inspected_at AT TIME ZONE 'UTC')::date"
    op.execute("DELETE FROM tallies")
    op.get_bind().exec_driver_sql(_COUNTED.format(day=day))
    op.execute(
        "UPDATE run_progress SET counted_through = coalesce("
        "(SELECT max(i.id) FROM inspections i WHERE i.run_id = run_progress.run_id), 0)"
    )


def index_first_pending() -> None:
    """Find the first of many lines with the same bytes without reading the others."""
    op.drop_index("ix_pending_items_run_id_image_sha256", "pending_items")
    op.create_index(
        "ix_pending_items_first",
        "pending_items",
        ["run_id", "image_sha256"],
        unique=False,
        sqlite_where=sa.text("NOT duplicate"),
        postgresql_where=sa.text("NOT duplicate"),
    )
