"""A run's word to the processes that work for it: its lease is called off."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; the leases that there are go on."""
    op.add_column(
        "lease_heartbeats",
        sa.Column("called_off", sa.Boolean(), nullable=False, server_default=sa.false()),
    )
