"""The background of an answer may have another of its names, and any place among the anomalies."""

from __future__ import annotations

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Remove the background from the tallies; the views follow from lfv_store/views/."""
    op.execute("DELETE FROM anomaly_tallies WHERE lower(trim(name)) IN ('background', 'normal')")
