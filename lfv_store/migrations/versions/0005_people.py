"""People: users and their sessions, reviews with what was shown, parts handed out for review."""

from __future__ import annotations

from lfv_store.migrations.frozen import r0005

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Change tables; the views follow from lfv_store/views/."""
    r0005.extend_reviews()
    r0005.give_decisions_reasons()
    r0005.create_users()
    r0005.create_review_queue()
