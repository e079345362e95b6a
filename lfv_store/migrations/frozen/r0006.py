"""Revision 0006: its tables. Frozen."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_UTC = sa.DateTime(timezone=True).with_variant(sa.Text(), "sqlite")
_BYTEWISE = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def create_watermarks() -> None:
    op.create_table(
        "watermark_sources",
        sa.Column("id", _BIG, autoincrement=False, nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("project_name", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_watermark_sources"),
        sa.UniqueConstraint(
            "source", "host", "project_name", name="uq_watermark_sources_source_host_project_name"
        ),
    )
    op.create_table(
        "watermark_objects",
        sa.Column("source_id", _BIG, autoincrement=False, nullable=False),
        sa.Column("object_key", _BYTEWISE, nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("size_bytes", _BIG, nullable=False),
        sa.Column("stamp", sa.Text(), nullable=False),
        sa.Column("run_id", _BIG, nullable=False),
        sa.Column("line_number", _BIG, nullable=False),
        sa.Column("attempts", _BIG, nullable=False),
        sa.Column("claimed_at", _UTC, nullable=False),
        sa.ForeignKeyConstraint(
            ["source_id"], ["watermark_sources.id"], name="fk_watermark_objects_source_id"
        ),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_watermark_objects_run_id"),
        sa.PrimaryKeyConstraint("source_id", "object_key", "sha256", name="pk_watermark_objects"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_watermark_objects_run_id_line_number",
        "watermark_objects",
        ["run_id", "line_number"],
        unique=False,
    )
    op.create_table(
        "watermark_runs",
        sa.Column("run_id", _BIG, autoincrement=False, nullable=False),
        sa.Column("source_id", _BIG, nullable=False),
        sa.Column("expires_at", _UTC, nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_watermark_runs_run_id"),
        sa.ForeignKeyConstraint(
            ["source_id"], ["watermark_sources.id"], name="fk_watermark_runs_source_id"
        ),
        sa.PrimaryKeyConstraint("run_id", name="pk_watermark_runs"),
    )
    op.create_index("ix_watermark_runs_source_id", "watermark_runs", ["source_id"], unique=False)
