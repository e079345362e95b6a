"""Users of the pages, their sessions, and the parts that they are reviewing."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from lfv_store.records.users import ROLES
from lfv_store.tables.base import Base, Id, key_of, one_of


class UserTable(Base):
    """A person with a role. Audited, and never deleted because reviews name people."""

    __tablename__ = "users"

    id: Mapped[Id]
    name: Mapped[str] = mapped_column(unique=True)
    role: Mapped[str]
    password_hash: Mapped[str | None]
    active: Mapped[bool]
    created_at: Mapped[datetime]
    changed_at: Mapped[datetime]
    #: The user's identity at an identity provider: its issuer and the user's id there.
    subject: Mapped[str | None] = mapped_column(index=True, unique=True)

    __table_args__ = (
        one_of("role", ROLES),
        sa.CheckConstraint("name <> ''", name="name"),
    )


class SessionTable(Base):
    """Working state: a login session, identified by the SHA-256 of its cookie's token."""

    __tablename__ = "sessions"

    token_sha256: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(sa.ForeignKey("users.id"), index=True)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]


class ReviewLeaseTable(Base):
    """Working state: a part under review, which no other reviewer gets."""

    __tablename__ = "review_leases"

    inspection_id: Mapped[int] = key_of("inspections.id")
    holder: Mapped[str] = mapped_column(index=True)
    expires_at: Mapped[datetime]


class SecondReviewTable(Base):
    """Working state: a reviewed part that waits for an independent second review."""

    __tablename__ = "second_reviews"

    inspection_id: Mapped[int] = key_of("inspections.id")
    first_reviewer: Mapped[str]
