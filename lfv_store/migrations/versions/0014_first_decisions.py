"""verdict_history has the time of the inspection for a verdict of the first decision."""

from __future__ import annotations

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Nothing: no table changes, and the views follow from lfv_store/views/."""
