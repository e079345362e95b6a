"""Views: release 0.1.0 created them here; now schema.upgrade() does, from lfv_store/views/."""

from __future__ import annotations

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Do nothing, because views are created after the last revision."""
