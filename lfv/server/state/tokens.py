"""Client tokens, which make a repeated call the same call, and pagination tokens."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from typing import Any

import orjson

from lfv.server.database import Transaction
from lfv.server.errors import ConflictError, ResourceType, ValidationError

_TOKEN_LIFE = 8 * 3600
"""Seconds; the API says that an idempotency token is active for 8 hours."""
_MAC_BYTES = 16


def fingerprint(members: Mapping[str, Any]) -> str:
    """A digest of an operation's input; the order of members doesn't matter."""
    return hashlib.sha256(
        orjson.dumps(members, default=_as_text, option=orjson.OPT_SORT_KEYS)
    ).hexdigest()


def earlier_answer(
    tx: Transaction,
    operation: str,
    token: str,
    digest: str,
    resource: tuple[str, ResourceType],
    now: float,
) -> dict[str, Any] | None:
    """The answer that this token already got, if any.

    Raises ConflictError if it came with other parameters then.
    """
    tx.execute("DELETE FROM client_tokens WHERE created_at < ?", [now - _TOKEN_LIFE])
    row = tx.one(
        "SELECT fingerprint, answer FROM client_tokens WHERE operation = ? AND token = ?",
        [operation, token],
    )
    if row is None:
        return None
    if row["fingerprint"] != digest:
        raise ConflictError(
            "this ClientToken was used before, with other parameters", resource[0], resource[1]
        )
    answer: dict[str, Any] = orjson.loads(row["answer"])
    return answer


def remember(
    tx: Transaction, operation: str, token: str, digest: str, answer: Mapping[str, Any], now: float
) -> None:
    tx.execute(
        "INSERT INTO client_tokens (operation, token, fingerprint, answer, created_at)"
        " VALUES (?, ?, ?, ?, ?)",
        [operation, token, digest, orjson.dumps(answer, default=_as_text).decode(), now],
    )


class PageTokens:
    """Signed, so that a token works only for the listing that it came from."""

    def __init__(self, tx: Transaction) -> None:
        key = tx.scalar("SELECT value FROM secrets WHERE name = 'page-tokens'")
        if key is None:
            key = secrets.token_bytes(32)
            tx.execute("INSERT INTO secrets (name, value) VALUES ('page-tokens', ?)", [key])
        self._key = bytes(key)

    def make(self, listing: str, cursor: int) -> str:
        data = cursor.to_bytes(8, "big")
        return base64.b64encode(self._mac(listing, data) + data).decode("ascii")

    def read(self, listing: str, token: str | None) -> int:
        """The cursor; 0 to begin with. Raises ValidationError for a token that isn't ours."""
        if not token:
            return 0
        try:
            raw = base64.b64decode(token, validate=True)
        except ValueError:
            raw = b""
        mac, data = raw[:_MAC_BYTES], raw[_MAC_BYTES:]
        if len(data) != 8 or not hmac.compare_digest(mac, self._mac(listing, data)):
            raise ValidationError("the pagination token is not valid for this request")
        return int.from_bytes(data, "big")

    def _mac(self, listing: str, data: bytes) -> bytes:
        message = listing.encode() + b"\0" + data
        return hmac.digest(self._key, message, "sha256")[:_MAC_BYTES]


def _as_text(value: object) -> str:
    if isinstance(value, bytes):
        return hashlib.sha256(value).hexdigest()
    raise TypeError(f"no {type(value).__name__} in an operation's input or answer")
