"""Who a user is to an identity provider."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; it stays NULL for users with a password alone."""
    op.add_column("users", sa.Column("subject", sa.Text(), nullable=True))
    op.create_index("ix_users_subject", "users", ["subject"], unique=True)
