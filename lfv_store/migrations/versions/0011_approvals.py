"""Approvals: the version that runs of a project use unless they name one."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_UTC = sa.DateTime(timezone=True).with_variant(sa.Text(), "sqlite")


def upgrade() -> None:
    """Create the table, append-only; nothing is approved yet."""
    op.create_table(
        "approvals",
        sa.Column("id", _BIG, autoincrement=False, nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("project_name", sa.Text(), nullable=False),
        sa.Column("model_id", _BIG, nullable=True),
        sa.Column("decided_by", sa.Text(), nullable=False),
        sa.Column("decided_at", _UTC, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("comparison", sa.JSON(none_as_null=True), nullable=True),
        sa.CheckConstraint("decided_by <> ''", name=op.f("ck_approvals_decided_by")),
        sa.CheckConstraint("reason <> ''", name=op.f("ck_approvals_reason")),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name="fk_approvals_model_id"),
        sa.PrimaryKeyConstraint("id", name="pk_approvals"),
    )
    op.create_index("ix_approvals_model_id", "approvals", ["model_id"], unique=False)
    op.create_index(
        "ix_approvals_project_name_host", "approvals", ["project_name", "host"], unique=False
    )
    if op.get_bind().dialect.name == "sqlite":
        for event in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER approvals_no_{event.lower()} BEFORE {event} ON approvals"
                " BEGIN SELECT RAISE(ABORT, 'approvals is append-only'); END"
            )
    else:
        op.execute(
            "CREATE TRIGGER approvals_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON approvals"
            " FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )
