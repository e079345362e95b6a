"""How many files of its source a run skipped, by reason."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; it stays NULL for runs of earlier releases."""
    op.add_column("runs", sa.Column("skipped", sa.JSON(none_as_null=True), nullable=True))
