"""Watermarks: the objects of a source that runs over new images have seen."""

from __future__ import annotations

from lfv_store.migrations.frozen import r0006

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create their tables."""
    r0006.create_watermarks()
