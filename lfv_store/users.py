"""Users of the pages and their sessions. Callers hash passwords; tokens are stored as SHA-256."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import RowMapping

from lfv_store.audit.change import Change, commit
from lfv_store.clean_text import clean
from lfv_store.dialects import dialect_of
from lfv_store.errors import InvalidRecord, RecordConflict, UnknownUser
from lfv_store.records.users import ROLES, Role, User
from lfv_store.repository import Repository
from lfv_store.row_mapping import record_from
from lfv_store.tables import SessionTable, UserTable

_LONGEST_NAME = 100
#: Characters of a token's digest in the audit log, enough to tell sessions apart.
_SHOWN = 12
_USERS = sa.select(UserTable.__table__, UserTable.id.label("user_id"))


class Users(Repository):
    """`store.users`."""

    def add(
        self,
        name: str,
        role: Role,
        password_hash: str | None = None,
        *,
        subject: str | None = None,
    ) -> User:
        """Add a user. Raises InvalidRecord, or RecordConflict if the name exists."""
        name = _check(name, role)

        def work(change: Change) -> None:
            change.lock_chain()
            if _find(change, name) is not None:
                raise RecordConflict(f"there is a user {name!r} already")
            change.insert(
                "users",
                name=name,
                role=role,
                password_hash=password_hash,
                active=True,
                created_at=change.now,
                changed_at=change.now,
                subject=subject,
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
        subject: str | None = None,
    ) -> User:
        """Change the given fields of a user and end the user's sessions.

        Raises:
            UnknownUser: No user has this name.
            InvalidRecord: A value is not valid.
            RecordConflict: The user already has another `subject`.
        """
        name = _check(name, role or "viewer")
        given = {
            "role": role,
            "password_hash": password_hash,
            "active": active,
            "subject": subject,
        }
        values: dict[str, Any] = {key: value for key, value in given.items() if value is not None}

        def work(change: Change) -> None:
            change.lock_chain()
            row = _find(change, name)
            if row is None:
                raise UnknownUser(f"there is no user {name!r}")
            if subject is not None and row["subject"] not in (None, subject):
                raise RecordConflict(f"{name!r} belongs to another account at the provider")
            change.update("users", row["id"], changed_at=change.now, **values)
            change.conn.execute(sa.delete(SessionTable).where(SessionTable.user_id == row["id"]))

        commit(self._database, self._actor, "user.changed", name, work)
        return self.get(name)

    def get(self, name: str) -> User:
        """Return a user by name. Raises UnknownUser."""
        with self._database.read() as conn:
            row = conn.execute(_USERS.where(UserTable.name == name)).mappings().one_or_none()
        if row is None:
            raise UnknownUser(f"there is no user {name!r}")
        return record_from(User, row)

    def sign_on(self, subject: str, name: str, role: Role | None) -> User:
        """Return the user authenticated by an identity provider, updating the role if it sent one.

        `subject` identifies the user. `name` matters at the first login only: it names a new user,
        or one who was added beforehand without a password and has not logged in yet.

        Raises:
            UnknownUser: The user is new and has no role.
            RecordConflict: The name belongs to another user.
            InvalidRecord: The name is not valid.
        """
        with self._database.read() as conn:
            row = conn.execute(_USERS.where(UserTable.subject == subject)).mappings().one_or_none()
        if row is not None:
            known = record_from(User, row)
            return self.change(known.name, role=role) if role not in (None, known.role) else known
        name = _check(name, role or "viewer")
        try:
            named = self.get(name)
        except UnknownUser:
            if role is None:
                raise
            return self.add(name, role, subject=subject)
        if named.password_hash is not None:
            raise RecordConflict(f"there is a user {name!r} with a password")
        return self.change(name, role=role, subject=subject)

    def list(self) -> Sequence[User]:
        """Return all users, by name."""
        with self._database.read() as conn:
            return [
                record_from(User, row)
                for row in conn.execute(_USERS.order_by(UserTable.name)).mappings()
            ]

    def any(self) -> bool:
        """Whether any user exists."""
        with self._database.read() as conn:
            return conn.scalar(sa.select(UserTable.id).limit(1)) is not None

    def open_session(
        self, user: User, token: str, *, ttl: timedelta, facts: Mapping[str, object] | None = None
    ) -> None:
        """Start a session and record the login. Deletes expired sessions."""

        def work(change: Change) -> None:
            conn = change.conn
            conn.execute(sa.delete(SessionTable).where(SessionTable.expires_at <= change.now))
            conn.execute(
                sa.insert(SessionTable).values(
                    token_sha256=_digest(token),
                    user_id=user.user_id,
                    created_at=change.now,
                    expires_at=change.now + ttl,
                )
            )
            change.state(**(facts or {}), session=_digest(token)[:_SHOWN])

        commit(self._database, user.name, "session.opened", user.name, work)

    def record_failed_login(self, name: str | None, **facts: object) -> None:
        """Record a refused login. `name` is None unless such a user exists."""

        def work(change: Change) -> None:
            change.state(**facts)

        commit(self._database, self._actor, "login.failed", name or "unknown", work)

    def session_user(self, token: str) -> User | None:
        """Return the active user of a session; None if the session is unknown or has expired."""
        with self._database.read() as conn:
            now = dialect_of(conn).now(conn)
            found = _USERS.join(SessionTable, SessionTable.user_id == UserTable.id).where(
                SessionTable.token_sha256 == _digest(token),
                SessionTable.expires_at > now,
                UserTable.active.is_(True),
            )
            row = conn.execute(found).mappings().one_or_none()
        return None if row is None else record_from(User, row)

    def close_session(self, token: str) -> None:
        """End a session and record the logout. Ignores a session that has already ended."""
        user = self.session_user(token)
        if user is None:
            return

        def work(change: Change) -> None:
            ended = change.conn.execute(
                sa.delete(SessionTable).where(SessionTable.token_sha256 == _digest(token))
            )
            if ended.rowcount:
                change.state(session=_digest(token)[:_SHOWN])

        commit(self._database, user.name, "session.closed", user.name, work)


def _check(name: str, role: str) -> str:
    """Return the name without surrounding blanks. Raises InvalidRecord."""
    name = clean(name).strip()
    if not name or len(name) > _LONGEST_NAME or not name.isprintable():
        raise InvalidRecord(f"a user's name has 1 to {_LONGEST_NAME} printable characters")
    if role not in ROLES:
        raise InvalidRecord(f"{role!r} is not a role; roles are {', '.join(ROLES)}")
    return name


def _find(change: Change, name: str) -> RowMapping | None:
    return change.conn.execute(_USERS.where(UserTable.name == name)).mappings().one_or_none()


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
