"""The views that auditors read. Their columns are a contract: see docs/store.md."""

from __future__ import annotations

from alembic import op

from lfv_store.migrations.frozen.r0002_words import definitions

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the views, each in the words of its database."""
    for _, definition in definitions(op.get_bind().dialect.name):
        # exec_driver_sql: a colon or a percent sign in a view is no parameter.
        op.get_bind().exec_driver_sql(definition)
