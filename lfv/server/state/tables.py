"""The tables of the service's state. Times are Unix seconds in UTC.

A change here needs a revision in ``lfv/server/migrations/versions``; a test compares the two.
"""

from __future__ import annotations

from sqlalchemy import (
    REAL,
    CheckConstraint,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    text,
)

metadata = MetaData()

projects = Table(
    "projects",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("arn", Text, nullable=False),
    Column("created_at", REAL, nullable=False),
    Column("last_version", Integer, nullable=False, server_default=text("0")),
    sqlite_strict=True,
)

#: One row: the last id given to a project. Ids are never reused, because page tokens hold them.
project_ids = Table(
    "project_ids",
    metadata,
    Column("id", Integer, primary_key=True),
    sqlite_autoincrement=True,
    sqlite_strict=True,
)

datasets = Table(
    "datasets",
    metadata,
    Column("project_id", ForeignKey("projects.id", ondelete="CASCADE"), nullable=False),
    Column("kind", Text, nullable=False),
    Column("created_at", REAL, nullable=False),
    Column("updated_at", REAL, nullable=False),
    Column("status", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("source_bucket", Text),
    Column("source_key", Text),
    Column("source_version", Text),
    Column("pending_changes", LargeBinary),
    PrimaryKeyConstraint("project_id", "kind"),
    CheckConstraint("kind IN ('train', 'test')"),
    sqlite_strict=True,
)

entries = Table(
    "entries",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("project_id", Integer, nullable=False),
    Column("kind", Text, nullable=False),
    Column("source_ref", Text, nullable=False),
    Column("line", Text, nullable=False),
    Column("label", Text),
    Column("labelled_at", REAL, nullable=False),
    UniqueConstraint("project_id", "kind", "source_ref"),
    ForeignKeyConstraint(
        ["project_id", "kind"], ["datasets.project_id", "datasets.kind"], ondelete="CASCADE"
    ),
    CheckConstraint("label IN ('normal', 'anomaly')"),
    sqlite_autoincrement=True,
    sqlite_strict=True,
)

models = Table(
    "models",
    metadata,
    Column("id", Text, primary_key=True),
    Column("project_id", ForeignKey("projects.id", ondelete="CASCADE"), nullable=False),
    Column("version", Integer, nullable=False),
    Column("arn", Text, nullable=False, unique=True),
    Column("description", Text),
    Column("kms_key_id", Text),
    Column("created_at", REAL, nullable=False),
    Column("status", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("output_bucket", Text, nullable=False),
    Column("output_prefix", Text),
    Column("training_starts", Integer, nullable=False, server_default=text("0")),
    Column("f1", REAL),
    Column("precision", REAL),
    Column("recall", REAL),
    Column("evaluated_at", REAL),
    Column("evaluation_manifest_key", Text),
    Column("evaluation_result_key", Text),
    Column("min_units", Integer),
    Column("max_units", Integer),
    Column("archive_sha256", Text),
    Column("training_remarks", Text),
    UniqueConstraint("project_id", "version"),
    sqlite_strict=True,
)

#: Separate from ``models``: an archive stays imported when its model is deleted.
imported_archives = Table(
    "imported_archives",
    metadata,
    Column("sha256", Text, primary_key=True),
    Column("model_id", Text, nullable=False),
    Column("model_name", Text, nullable=False),
    sqlite_strict=True,
)

tags = Table(
    "tags",
    metadata,
    Column("model_id", ForeignKey("models.id", ondelete="CASCADE"), nullable=False),
    Column("key", Text, nullable=False),
    Column("value", Text, nullable=False),
    PrimaryKeyConstraint("model_id", "key"),
    sqlite_strict=True,
)

packaging_jobs = Table(
    "packaging_jobs",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("project_id", ForeignKey("projects.id", ondelete="CASCADE"), nullable=False),
    Column("name", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("configuration", Text, nullable=False),
    Column("description", Text),
    Column("status", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("created_at", REAL, nullable=False),
    Column("updated_at", REAL, nullable=False),
    Column("region", Text),
    UniqueConstraint("project_id", "name"),
    sqlite_autoincrement=True,
    sqlite_strict=True,
)

client_tokens = Table(
    "client_tokens",
    metadata,
    Column("operation", Text, nullable=False),
    Column("token", Text, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("answer", Text, nullable=False),
    Column("created_at", REAL, nullable=False),
    PrimaryKeyConstraint("operation", "token"),
    Index("client_tokens_by_age", "created_at"),
    sqlite_strict=True,
)

secrets = Table(
    "secrets",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", LargeBinary, nullable=False),
    sqlite_strict=True,
)
