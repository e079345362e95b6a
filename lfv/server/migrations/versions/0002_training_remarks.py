"""Remarks of a training have a column of their own, which StartModel does not overwrite."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.execute("ALTER TABLE models ADD COLUMN training_remarks TEXT")
    # In revision 0001, the remarks follow this sentence until the first StartModel.
    op.execute(
        """
        UPDATE models
        SET training_remarks = substr(message, length('Training completed. ') + 1),
            message = 'Training completed.'
        WHERE message LIKE 'Training completed. %'
        """
    )
