"""Signatures of approvals and of later decisions, as reviews have them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns; what was decided before is not signed."""
    for table in ("approvals", "decisions"):
        op.add_column(table, sa.Column("signature", sa.JSON(none_as_null=True), nullable=True))
