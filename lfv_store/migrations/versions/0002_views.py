"""Views, which release 0.1.0 made here; schema.upgrade() makes them now, from lfv_store/views/."""

from __future__ import annotations

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Nothing: views are made after the last revision."""
