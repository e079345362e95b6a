"""Users of the pages and their sessions. Passwords come hashed; tokens are kept as SHA-256."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import RowMapping

from lfv_store.audit.change import Change, commit
from lfv_store.database import Database
from lfv_store.dialects import dialect_of
from lfv_store.errors import InvalidRecord, RecordConflict, UnknownUser
from lfv_store.people import ROLES, Role, User
from lfv_store.tables import SessionTable, UserTable
from lfv_store.text import clean

_LONGEST_NAME = 100
_USERS = sa.select(UserTable.__table__)


class Users:
    """`store.users`."""

    def __init__(self, database: Database, actor: str) -> None:
        self._database = database
        self._actor = actor

    def add(self, name: str, role: Role, password_hash: str | None = None) -> User:
        """Add a user. Raises RecordConflict if there is one of that name, InvalidRecord."""
        name = _checked(name, role)

        def work(unit: Change) -> None:
            unit.lock_chain()
            if _find(unit, name) is not None:
                raise RecordConflict(f"there is a user {name!r} already")
            unit.insert(
                "users",
                name=name,
                role=role,
                password_hash=password_hash,
                active=True,
                created_at=unit.now,
                changed_at=unit.now,
            )

        commit(self._database, self._actor, "user.added", name, work)
        return self.get(name)

    def change(
        self,
        name: str,
        *,
        role: Role | None = None,
        password_hash: str | None = None,
        active: bool | None = None,
    ) -> User:
        """Change what is given, and end the user's sessions. Raises UnknownUser, InvalidRecord."""
        name = _checked(name, role or "viewer")
        given = {"role": role, "password_hash": password_hash, "active": active}
        values: dict[str, Any] = {key: value for key, value in given.items() if value is not None}

        def work(unit: Change) -> None:
            unit.lock_chain()
            row = _find(unit, name)
            if row is None:
                raise UnknownUser(f"there is no user {name!r}")
            unit.update("users", row["id"], changed_at=unit.now, **values)
            unit.conn.execute(sa.delete(SessionTable).where(SessionTable.user_id == row["id"]))

        commit(self._database, self._actor, "user.changed", name, work)
        return self.get(name)

    def get(self, name: str) -> User:
        """A user by name. Raises UnknownUser."""
        with self._database.read() as conn:
            row = conn.execute(_USERS.where(UserTable.name == name)).mappings().one_or_none()
        if row is None:
            raise UnknownUser(f"there is no user {name!r}")
        return _user(row)

    def list(self) -> Sequence[User]:
        """All users by name."""
        with self._database.read() as conn:
            return [_user(row) for row in conn.execute(_USERS.order_by(UserTable.name)).mappings()]

    def any(self) -> bool:
        """Whether there is a user at all."""
        with self._database.read() as conn:
            return conn.scalar(sa.select(UserTable.id).limit(1)) is not None

    def open_session(self, user: User, token: str, *, ttl: timedelta) -> None:
        """Begin a session; sessions that are over are cleared away."""

        def work() -> None:
            with self._database.write() as conn:
                now = dialect_of(conn).now(conn)
                conn.execute(sa.delete(SessionTable).where(SessionTable.expires_at <= now))
                conn.execute(
                    sa.insert(SessionTable).values(
                        token_sha256=_digest(token),
                        user_id=user.user_id,
                        created_at=now,
                        expires_at=now + ttl,
                    )
                )

        self._database.retry(work)

    def session_user(self, token: str) -> User | None:
        """The active user whose session has this token; None if there is none any more."""
        with self._database.read() as conn:
            now = dialect_of(conn).now(conn)
            row = (
                conn.execute(
                    _USERS.join(SessionTable, SessionTable.user_id == UserTable.id).where(
                        SessionTable.token_sha256 == _digest(token),
                        SessionTable.expires_at > now,
                        UserTable.active.is_(True),
                    )
                )
                .mappings()
                .one_or_none()
            )
        return None if row is None else _user(row)

    def close_session(self, token: str) -> None:
        """End a session."""

        def work() -> None:
            with self._database.write() as conn:
                conn.execute(
                    sa.delete(SessionTable).where(SessionTable.token_sha256 == _digest(token))
                )

        self._database.retry(work)


def _checked(name: str, role: str) -> str:
    """The name without surrounding blanks. Raises InvalidRecord."""
    name = clean(name).strip()
    if not name or len(name) > _LONGEST_NAME or not name.isprintable():
        raise InvalidRecord(f"a user's name has 1 to {_LONGEST_NAME} printable characters")
    if role not in ROLES:
        raise InvalidRecord(f"{role!r} is not a role; roles are {', '.join(ROLES)}")
    return name


def _find(unit: Change, name: str) -> RowMapping | None:
    return unit.conn.execute(_USERS.where(UserTable.name == name)).mappings().one_or_none()


def _user(row: RowMapping) -> User:
    return User(
        user_id=row["id"],
        name=row["name"],
        role=row["role"],
        active=row["active"],
        created_at=row["created_at"],
        changed_at=row["changed_at"],
        password_hash=row["password_hash"],
    )


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
