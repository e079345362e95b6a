"""A lease can be called off, which ends the work of a run's other processes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; existing leases stay in force."""
    op.add_column(
        "lease_heartbeats",
        sa.Column("called_off", sa.Boolean(), nullable=False, server_default=sa.false()),
    )
