"""The measured capacity of a model: requests in flight, and the latency of its answers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_UTC = sa.DateTime(timezone=True).with_variant(sa.Text(), "sqlite")


def upgrade() -> None:
    """Create the table; it begins empty."""
    op.create_table(
        "model_paces",
        sa.Column("model_id", _BIG, autoincrement=False, nullable=False),
        sa.Column("in_flight", _BIG, nullable=False),
        sa.Column("inference_units", _BIG, nullable=False),
        sa.Column("latency_ms", sa.Double(), nullable=False),
        sa.Column("measured_at", _UTC, nullable=False),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name="fk_model_paces_model_id"),
        sa.PrimaryKeyConstraint("model_id", name="pk_model_paces"),
    )
