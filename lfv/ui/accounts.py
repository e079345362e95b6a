"""Authentication: passwords, sessions and roles."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import threading
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

from lfv.settings import Settings
from lfv.ui.logins import FailedLogins, LoginLimit
from lfv.ui.single_sign_on import IdentityProvider
from lfv_store import ROLES, Role, Store, UnknownUser, User

SESSION = timedelta(hours=12)
SHORTEST_PASSWORD = 10
LONGEST_PASSWORD = 500
_KNOWN_SECONDS = 1.0
_MOST_REMEMBERED = 10_000


class WeakPassword(ValueError):
    """The password is too short or too long."""


@dataclass(frozen=True)
class Visitor:
    """The person behind a request. `cookie` is the value to which their forms are bound."""

    name: str
    role: Role
    cookie: str
    is_local: bool = False

    def may(self, role: Role) -> bool:
        """Whether the visitor's role includes this one."""
        return ROLES.index(self.role) >= ROLES.index(role)


class Accounts:
    """The users and sessions of a results database, for the server of pages. Thread-safe."""

    def __init__(self, store: Store, folder: Path, local_user: str, settings: Settings) -> None:
        self._store = store
        self._local_user = local_user
        self._secret = _secret(folder / "secret")
        self._hasher = PasswordHasher()
        self._unknown = self._hasher.hash(secrets.token_hex())
        # Each hash takes 64 MiB.
        self._hashing = threading.BoundedSemaphore(4)
        self._users_known: tuple[float, bool] = (-1e9, False)
        self._let_in: dict[str, float] = {}
        self.limit = LoginLimit()
        self.failures = FailedLogins(store)
        self.provider: IdentityProvider | None = None
        if settings.oidc_issuer is not None:
            self.provider = IdentityProvider(settings, self._secret)

    def has_users(self) -> bool:
        """Whether a login is required; looked up once a second."""
        if self.provider is not None:
            return True
        at, known = self._users_known
        if time.monotonic() - at > _KNOWN_SECONDS:
            known = self._store.users.any()
            self._users_known = (time.monotonic(), known)
        return known

    def local_visitor(self, cookie: str) -> Visitor:
        """Return the visitor that acts while there are no users."""
        return Visitor(self._local_user, "admin", cookie, is_local=True)

    def visitor(self, token: str) -> Visitor | None:
        """Return the visitor of a session by its token; None if the session has ended."""
        user = self._store.users.session_user(token)
        if user is None:
            self._let_in.pop(token, None)
            return None
        if len(self._let_in) > _MOST_REMEMBERED:
            self._let_in.clear()
        self._let_in[token] = time.monotonic()
        return Visitor(user.name, user.role, token)

    def was_just_let_in(self, token: str | None, *, is_local: bool) -> bool:
        """Whether a session was found to be valid within the last second.

        Needs no database, so that a screen of a hundred thumbnails takes one look-up.
        """
        at, has_users = self._users_known
        now = time.monotonic()
        if self.provider is None:
            if now - at > _KNOWN_SECONDS:
                return False
            if not has_users:
                return is_local
        return now - self._let_in.get(token or "", -1e9) <= _KNOWN_SECONDS

    def known_name(self, name: str) -> str | None:
        """Return the name if a user has it, so that it may be recorded; else None."""
        try:
            return self._store.users.get(name).name
        except UnknownUser:
            return None

    def check_password(self, name: str, password: str, address: str) -> User | None:
        """Return the active user with this name and password, else None, in the same time.

        `address` is the client's network address.

        Raises:
            TooManyFailures: There were too many failed logins.
        """
        self.limit.check(address, name)
        user: User | None
        try:
            user = self._store.users.get(name)
        except UnknownUser:
            user = None
        known = user.password_hash if user is not None else None
        with self._hashing:
            self.limit.begin(address, name)
            right = _is_password(self._hasher, known or self._unknown, password[:LONGEST_PASSWORD])
        if user is None or not (known and right and user.active):
            return None
        self.limit.record_success(address, name)
        return user

    def log_in(self, user: User, **facts: object) -> str:
        """Start a session and return its new token.

        `facts` are recorded with the login.
        """
        token = new_token()
        facts |= self.failures.unrecorded()
        self._store.users.open_session(user, token, ttl=SESSION, facts=facts)
        return token

    def log_out(self, token: str) -> None:
        """End a session."""
        self._store.users.close_session(token)

    def form_token(self, cookie: str) -> str:
        """Return the token that a form must send back to show that it is from one of the pages."""
        return hmac.new(self._secret, cookie.encode(), hashlib.sha256).hexdigest()

    def is_form_token(self, cookie: str, value: str) -> bool:
        """Whether a form is from a page that was served to this visitor."""
        return hmac.compare_digest(self.form_token(cookie).encode(), value.encode())


def hash_password(password: str) -> str:
    """Return the Argon2id hash of a password. Raises WeakPassword."""
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        raise WeakPassword(
            f"a password has {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters; choose another"
        )
    return PasswordHasher().hash(password)


def new_token() -> str:
    """Return a token that cannot be guessed."""
    return secrets.token_urlsafe(32)


def _is_password(hasher: PasswordHasher, known: str, password: str) -> bool:
    try:
        return hasher.verify(known, password)
    except (Argon2Error, InvalidHashError):
        return False


def _secret(file: Path) -> bytes:
    """Return the key of form tokens, stored so that open pages survive a restart."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(secrets.token_bytes(32))
    except FileExistsError:
        pass
    except OSError:
        return secrets.token_bytes(32)
    found = file.read_bytes()
    return found if len(found) == 32 else secrets.token_bytes(32)
