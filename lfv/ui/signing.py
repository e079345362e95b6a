"""Signatures on pages: asks for the password again and returns the meaning to record."""

from __future__ import annotations

from lfv.ui.logins import TooManyFailures
from lfv.ui.routing import Call, Refused


def asks_for_signatures(call: Call) -> bool:
    """Whether this visitor's decisions need the password again."""
    return call.ui.options.signatures and not call.visitor.is_local


def signed_meaning(call: Call, meaning: str) -> str | None:
    """Return `meaning` after checking the password; None if no signature is required.

    Raises:
        Refused: The password is wrong, or there were too many wrong ones.
    """
    if not asks_for_signatures(call):
        return None
    accounts, address, name = call.ui.accounts, call.address, call.visitor.name
    try:
        user = accounts.check_password(name, call.form.get("password", ""), address)
    except TooManyFailures as held_back:
        raise Refused(str(held_back), 429) from None
    if user is None:
        accounts.failures.record(name, method="signature", address=address)
        raise Refused("The password is wrong; nothing is recorded.", 403)
    return meaning
