"""Alembic's entry point, on the connection that ``lfv/server/schema.py`` hands over."""

from __future__ import annotations

from alembic import context

from lfv.server.state.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
