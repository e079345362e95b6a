"""Revision 0005: its tables and statements. Frozen."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_UTC = sa.DateTime(timezone=True).with_variant(sa.Text(), "sqlite")
_JSON = sa.JSON(none_as_null=True)
_VERDICTS = "verdict IN ('accept', 'reject', 'review')"
_KINDS = "kind IN ('review', 'second', 'undo', 'conflict')"
_OLD = "id, inspection_id, verdict, reviewer, comment, reviewed_at"
_UNDECIDED = sa.text("verdict = 'review'")
_ROLES = "role IN ('viewer', 'reviewer', 'engineer', 'admin')"


def extend_reviews() -> None:
    """A review may leave a part undecided, and records its kind and what was shown."""
    if op.get_bind().dialect.name == "sqlite":
        _rebuild_reviews()
    else:
        op.drop_constraint(op.f("ck_reviews_ck_reviews_verdict"), "reviews")
        op.create_check_constraint(op.f("ck_reviews_verdict"), "reviews", sa.text(_VERDICTS))
        op.add_column("reviews", _with_default("kind", "review"))
        op.create_check_constraint(op.f("ck_reviews_kind"), "reviews", sa.text(_KINDS))
        op.add_column("reviews", _with_default("reason", ""))
        op.add_column("reviews", sa.Column("shown", _JSON, nullable=True))
        op.add_column("reviews", sa.Column("signature", _JSON, nullable=True))
        op.add_column("reviews", sa.Column("token", sa.Text(), nullable=True))
        op.create_unique_constraint(op.f("uq_reviews_token"), "reviews", ["token"])
    op.create_index(
        "ix_reviews_undecided",
        "reviews",
        ["inspection_id"],
        unique=False,
        sqlite_where=_UNDECIDED,
        postgresql_where=_UNDECIDED,
    )


def _with_default(name: str, value: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=False, server_default=value)


def _rebuild_reviews() -> None:
    """SQLite cannot change a CHECK, so the table is recreated."""
    op.create_table(
        "reviews_0005",
        sa.Column("id", _BIG, autoincrement=False, nullable=False),
        sa.Column("inspection_id", _BIG, nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("reviewer", sa.Text(), nullable=False),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.Column("reviewed_at", _UTC, nullable=False),
        _with_default("kind", "review"),
        _with_default("reason", ""),
        sa.Column("shown", _JSON, nullable=True),
        sa.Column("signature", _JSON, nullable=True),
        sa.Column("token", sa.Text(), nullable=True),
        sa.CheckConstraint("reviewer <> ''", name=op.f("ck_reviews_reviewer")),
        sa.CheckConstraint(_VERDICTS, name=op.f("ck_reviews_verdict")),
        sa.CheckConstraint(_KINDS, name=op.f("ck_reviews_kind")),
        sa.ForeignKeyConstraint(
            ["inspection_id"], ["inspections.id"], name="fk_reviews_inspection_id"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_reviews"),
        sa.UniqueConstraint("token", name="uq_reviews_token"),
    )
    op.execute(f"INSERT INTO reviews_0005 ({_OLD}) SELECT {_OLD} FROM reviews")  # noqa: S608
    op.drop_table("reviews")
    op.rename_table("reviews_0005", "reviews")
    for column in ("inspection_id", "reviewed_at", "reviewer"):
        op.create_index(f"ix_reviews_{column}", "reviews", [column], unique=False)
    for event in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER reviews_no_{event.lower()} BEFORE {event} ON reviews"
            " BEGIN SELECT RAISE(ABORT, 'reviews is append-only'); END"
        )


def give_decisions_reasons() -> None:
    op.add_column("decisions", _with_default("reason", ""))


def create_users() -> None:
    op.create_table(
        "users",
        sa.Column("id", _BIG, autoincrement=False, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=True),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("created_at", _UTC, nullable=False),
        sa.Column("changed_at", _UTC, nullable=False),
        sa.CheckConstraint(_ROLES, name=op.f("ck_users_role")),
        sa.CheckConstraint("name <> ''", name=op.f("ck_users_name")),
        sa.PrimaryKeyConstraint("id", name="pk_users"),
        sa.UniqueConstraint("name", name="uq_users_name"),
    )
    op.create_table(
        "sessions",
        sa.Column("token_sha256", sa.Text(), nullable=False),
        sa.Column("user_id", _BIG, nullable=False),
        sa.Column("created_at", _UTC, nullable=False),
        sa.Column("expires_at", _UTC, nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_sessions_user_id"),
        sa.PrimaryKeyConstraint("token_sha256", name="pk_sessions"),
    )
    op.create_index("ix_sessions_user_id", "sessions", ["user_id"], unique=False)


def create_review_queue() -> None:
    op.create_table(
        "review_leases",
        sa.Column("inspection_id", _BIG, autoincrement=False, nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("expires_at", _UTC, nullable=False),
        sa.ForeignKeyConstraint(
            ["inspection_id"], ["inspections.id"], name="fk_review_leases_inspection_id"
        ),
        sa.PrimaryKeyConstraint("inspection_id", name="pk_review_leases"),
    )
    op.create_index("ix_review_leases_holder", "review_leases", ["holder"], unique=False)
    op.create_table(
        "second_reviews",
        sa.Column("inspection_id", _BIG, autoincrement=False, nullable=False),
        sa.Column("first_reviewer", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["inspection_id"], ["inspections.id"], name="fk_second_reviews_inspection_id"
        ),
        sa.PrimaryKeyConstraint("inspection_id", name="pk_second_reviews"),
    )
