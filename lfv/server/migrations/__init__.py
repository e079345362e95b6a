"""Alembic's revisions of the service's state; see ``lfv/server/schema.py``."""
