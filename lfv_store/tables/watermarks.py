"""The objects seen by runs on new images only, and the run that claimed each.

Working state, not audited. An object's outcome is the inspection of its run and line.
"""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from lfv_store.tables.base import BYTEWISE, Base, Id, key_of


class WatermarkSourceTable(Base):
    """A folder or prefix whose new images are inspected with the models of one project."""

    __tablename__ = "watermark_sources"

    id: Mapped[Id]
    source: Mapped[str]
    host: Mapped[str]
    project_name: Mapped[str]

    __table_args__ = (sa.UniqueConstraint("source", "host", "project_name"),)


class WatermarkObjectTable(Base):
    """One content of an object of a source, and the run and line that claimed it.

    Equal `size_bytes` and `stamp` (an ETag, or modification times) show without reading that an
    object is unchanged. `sha256` is empty if it could not be read. `attempts` counts the lines that
    ended in an error that another attempt may resolve.
    """

    __tablename__ = "watermark_objects"

    source_id: Mapped[int] = key_of("watermark_sources.id")
    object_key: Mapped[str] = mapped_column(BYTEWISE, primary_key=True)
    sha256: Mapped[str] = mapped_column(primary_key=True)
    size_bytes: Mapped[int]
    stamp: Mapped[str]
    run_id: Mapped[int] = mapped_column(sa.ForeignKey("runs.id"))
    line_number: Mapped[int]
    attempts: Mapped[int]
    claimed_at: Mapped[datetime]

    __table_args__ = (sa.Index(None, "run_id", "line_number"), {"sqlite_with_rowid": False})


class WatermarkRunTable(Base):
    """A run with objects that may lack a record. Other runs take them after `expires_at`."""

    __tablename__ = "watermark_runs"

    run_id: Mapped[int] = key_of("runs.id")
    source_id: Mapped[int] = mapped_column(sa.ForeignKey("watermark_sources.id"), index=True)
    expires_at: Mapped[datetime]
