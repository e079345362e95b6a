"""Users and roles."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, get_args

#: Each role includes the rights of those before it.
Role = Literal["viewer", "reviewer", "engineer", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)


@dataclass(frozen=True, slots=True)
class User:
    """A person who may use the pages.

    A user without a password hash logs in by single sign-on only. `subject` identifies the user at
    the identity provider, and is stored at the first login there.
    """

    user_id: int
    name: str
    role: Role
    active: bool
    created_at: datetime
    changed_at: datetime
    subject: str | None = None
    password_hash: str | None = field(default=None, repr=False)
