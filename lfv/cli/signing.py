"""Signatures on the command line: a user of the pages confirms a decision with the password."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from lfv.cli.common import ask_password
from lfv.cli.errors import CommandError

if TYPE_CHECKING:
    from lfv.settings import Settings
    from lfv_store import Role, Store

SignAsOption = Annotated[
    str | None,
    typer.Option(
        "--sign-as",
        metavar="NAME",
        help="User of `lfv ui` who decides and signs with the password. With LFV_SIGNATURES, "
        "every decision is signed.",
    ),
]
_HERE = "command line"


def signer(settings: Settings, store: Store, name: str, role: Role, *, from_stdin: bool) -> str:
    """Return the name of the user who signs, after verifying the password.

    Raises:
        CommandError: The password is wrong, or no user with this name has the role.
    """
    from lfv.ui.accounts import Accounts, Visitor
    from lfv.ui.logins import TooManyFailures

    password = ask_password(from_stdin=from_stdin, of=name)
    accounts = Accounts(store, settings.home / "ui", name, settings)
    try:
        user = accounts.check_password(name, password, _HERE)
    except TooManyFailures as held_back:
        raise CommandError(str(held_back)) from None
    if user is None or not Visitor(user.name, user.role, "").may(role):
        accounts.failures.record(accounts.known_name(name), method="signature", address=_HERE)
        raise CommandError(
            f"{name} cannot sign: the password is wrong, or this is not a user of `lfv ui` with "
            f"the role {role}; nothing is changed"
        )
    return user.name


def required_signer(
    settings: Settings,
    store: Store,
    sign_as: str | None,
    name: str,
    role: Role,
    *,
    from_stdin: bool,
) -> str | None:
    """Return the user who signs, after verifying the password; None without a signature.

    With `settings.signatures`, `name` signs unless `sign_as` is given. Raises CommandError.
    """
    if sign_as is None and not settings.signatures:
        return None
    return signer(settings, store, sign_as or name, role, from_stdin=from_stdin)
