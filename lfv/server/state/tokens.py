"""Client tokens, which make calls idempotent, and pagination tokens."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from typing import Any

import orjson
from sqlalchemy import delete, insert, select

from lfv.server.database import Transaction
from lfv.server.errors import ConflictError, ResourceType, ValidationError
from lfv.server.state import tables

_TOKENS = tables.client_tokens.c

#: Seconds; the API says that an idempotency token is active for 8 hours.
_TOKEN_LIFE = 8 * 3600
_MAC_BYTES = 16
#: Name of the secret that signs page tokens.
_PAGE_TOKENS = "page-tokens"


def fingerprint(members: Mapping[str, Any]) -> str:
    """Return a digest of an operation's input, independent of the order of members."""
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
    """Return the answer to an earlier call with this token, or None.

    Raises ConflictError if that call had other parameters.
    """
    tx.execute(delete(tables.client_tokens).where(_TOKENS.created_at < now - _TOKEN_LIFE))
    row = tx.one(
        select(_TOKENS.fingerprint, _TOKENS.answer).where(
            _TOKENS.operation == operation, _TOKENS.token == token
        )
    )
    if row is None:
        return None
    if row["fingerprint"] != digest:
        raise ConflictError(
            "this ClientToken was used before with other parameters", resource[0], resource[1]
        )
    answer: dict[str, Any] = orjson.loads(row["answer"])
    return answer


def remember(
    tx: Transaction, operation: str, token: str, digest: str, answer: Mapping[str, Any], now: float
) -> None:
    tx.execute(
        insert(tables.client_tokens).values(
            operation=operation,
            token=token,
            fingerprint=digest,
            answer=orjson.dumps(answer, default=_as_text).decode(),
            created_at=now,
        )
    )


class PageTokens:
    """Creates and reads signed tokens, each of which works only for the listing it came from."""

    def __init__(self, tx: Transaction) -> None:
        stored = tables.secrets
        key = tx.scalar(select(stored.c.value).where(stored.c.name == _PAGE_TOKENS))
        if key is None:
            key = secrets.token_bytes(32)
            tx.execute(insert(stored).values(name=_PAGE_TOKENS, value=key))
        self._key = bytes(key)

    def make(self, listing: str, cursor: int) -> str:
        data = cursor.to_bytes(8, "big")
        return base64.b64encode(self._mac(listing, data) + data).decode("ascii")

    def read(self, listing: str, token: str | None) -> int:
        """Return a token's cursor; 0 without a token. Raises ValidationError for an invalid one."""
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
    raise TypeError(f"an operation has no input or answer of type {type(value).__name__}")
