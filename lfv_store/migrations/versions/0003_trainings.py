"""Adds trainings, counts each part once and up to a mark, and drops unused columns of hostings."""

from __future__ import annotations

from lfv_store.migrations.frozen import r0003

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Change tables; the views follow from lfv_store/views/."""
    r0003.create_trainings()
    r0003.shrink_hostings()
    r0003.count_by_mark()
    r0003.index_first_pending()
