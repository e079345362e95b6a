"""The tables of release 0.1.0, which counted its schema in PRAGMA user_version (3)."""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None

TABLES = (
    """
    CREATE TABLE projects (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        arn TEXT NOT NULL,
        created_at REAL NOT NULL,
        last_version INTEGER NOT NULL DEFAULT 0
    ) STRICT
    """,
    """
    CREATE TABLE datasets (
        project_id INTEGER NOT NULL REFERENCES projects ON DELETE CASCADE,
        kind TEXT NOT NULL CHECK (kind IN ('train', 'test')),
        created_at REAL NOT NULL,
        updated_at REAL NOT NULL,
        status TEXT NOT NULL,
        message TEXT NOT NULL,
        source_bucket TEXT,
        source_key TEXT,
        source_version TEXT,
        pending_changes BLOB,
        PRIMARY KEY (project_id, kind)
    ) STRICT
    """,
    """
    CREATE TABLE entries (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        project_id INTEGER NOT NULL,
        kind TEXT NOT NULL,
        source_ref TEXT NOT NULL,
        line TEXT NOT NULL,
        label TEXT CHECK (label IN ('normal', 'anomaly')),
        labelled_at REAL NOT NULL,
        UNIQUE (project_id, kind, source_ref),
        FOREIGN KEY (project_id, kind) REFERENCES datasets ON DELETE CASCADE
    ) STRICT
    """,
    """
    CREATE TABLE models (
        id TEXT PRIMARY KEY,
        project_id INTEGER NOT NULL REFERENCES projects ON DELETE CASCADE,
        version INTEGER NOT NULL,
        arn TEXT NOT NULL UNIQUE,
        description TEXT,
        kms_key_id TEXT,
        created_at REAL NOT NULL,
        status TEXT NOT NULL,
        message TEXT NOT NULL,
        output_bucket TEXT NOT NULL,
        output_prefix TEXT,
        training_starts INTEGER NOT NULL DEFAULT 0,
        f1 REAL,
        precision REAL,
        recall REAL,
        evaluated_at REAL,
        evaluation_manifest_key TEXT,
        evaluation_result_key TEXT,
        min_units INTEGER,
        max_units INTEGER,
        archive_sha256 TEXT,
        UNIQUE (project_id, version)
    ) STRICT
    """,
    """
    CREATE TABLE tags (
        model_id TEXT NOT NULL REFERENCES models ON DELETE CASCADE,
        key TEXT NOT NULL,
        value TEXT NOT NULL,
        PRIMARY KEY (model_id, key)
    ) STRICT
    """,
    """
    CREATE TABLE packaging_jobs (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        project_id INTEGER NOT NULL REFERENCES projects ON DELETE CASCADE,
        name TEXT NOT NULL,
        version INTEGER NOT NULL,
        configuration TEXT NOT NULL,
        description TEXT,
        status TEXT NOT NULL,
        message TEXT NOT NULL,
        created_at REAL NOT NULL,
        updated_at REAL NOT NULL,
        region TEXT,
        UNIQUE (project_id, name)
    ) STRICT
    """,
    """
    CREATE TABLE client_tokens (
        operation TEXT NOT NULL,
        token TEXT NOT NULL,
        fingerprint TEXT NOT NULL,
        answer TEXT NOT NULL,
        created_at REAL NOT NULL,
        PRIMARY KEY (operation, token)
    ) STRICT
    """,
    "CREATE INDEX client_tokens_by_age ON client_tokens (created_at)",
    "CREATE TABLE secrets (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT",
    """
    CREATE TABLE imported_archives (
        sha256 TEXT PRIMARY KEY,
        model_id TEXT NOT NULL,
        model_name TEXT NOT NULL
    ) STRICT
    """,
    "CREATE TABLE project_ids (id INTEGER PRIMARY KEY AUTOINCREMENT) STRICT",
)


def upgrade() -> None:
    for statement in TABLES:
        op.execute(statement)
