"""Who somebody is: passwords, sessions and roles."""

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
    """Who a request is from. `cookie` is the value that their forms are bound to."""

    name: str
    role: Role
    cookie: str
    is_local: bool = False

    def may(self, role: Role) -> bool:
        """Whether the visitor's role includes this one."""
        return ROLES.index(self.role) >= ROLES.index(role)


class Accounts:
    """Users of a results database, as a server of pages sees them. Thread-safe."""

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
        """Whether anybody has to log in; looked up once a second."""
        if self.provider is not None:
            return True
        at, known = self._users_known
        if time.monotonic() - at > _KNOWN_SECONDS:
            known = self._store.users.any()
            self._users_known = (time.monotonic(), known)
        return known

    def local_visitor(self, cookie: str) -> Visitor:
        """The person at this machine, while there are no users."""
        return Visitor(self._local_user, "admin", cookie, is_local=True)

    def visitor(self, token: str) -> Visitor | None:
        """Whose session a token is; None if it is over."""
        user = self._store.users.session_user(token)
        if user is None:
            self._let_in.pop(token, None)
            return None
        if len(self._let_in) > _MOST_REMEMBERED:
            self._let_in.clear()
        self._let_in[token] = time.monotonic()
        return Visitor(user.name, user.role, token)

    def was_just_let_in(self, token: str | None, *, is_local: bool) -> bool:
        """Whether somebody may look, as was found out within the last second.

        Asks no database, so that a screen of thumbnails takes one look-up and not a hundred.
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
        """The name if it is a user's, to be recorded; else None."""
        try:
            return self._store.users.get(name).name
        except UnknownUser:
            return None

    def check_password(self, name: str, password: str, address: str) -> User | None:
        """The active user with this name and password, else None, in the same time.

        `address` is where the password comes from.

        Raises:
            TooManyFailures: There were too many wrong ones.
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
            right = _verifies(self._hasher, known or self._unknown, password[:LONGEST_PASSWORD])
        if user is None or not (known and right and user.active):
            return None
        self.limit.succeeded(address, name)
        return user

    def log_in(self, user: User, **facts: object) -> str:
        """Begin a session; returns its token, which nobody knew before.

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
        """What a form has to bring back so that it is known to be from a page of ours."""
        return hmac.new(self._secret, cookie.encode(), hashlib.sha256).hexdigest()

    def is_form_token(self, cookie: str, value: str) -> bool:
        """Whether a form is from a page that this visitor got."""
        return hmac.compare_digest(self.form_token(cookie).encode(), value.encode())


def hash_password(password: str) -> str:
    """Return what is stored of a password (Argon2id). Raises WeakPassword."""
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        raise WeakPassword(
            f"a password has {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters; choose another"
        )
    return PasswordHasher().hash(password)


def new_token() -> str:
    """A token that cannot be guessed."""
    return secrets.token_urlsafe(32)


def _verifies(hasher: PasswordHasher, known: str, password: str) -> bool:
    try:
        return hasher.verify(known, password)
    except (Argon2Error, InvalidHashError):
        return False


def _secret(file: Path) -> bytes:
    """The key of form tokens, made once: a page that is open outlives the server."""
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
