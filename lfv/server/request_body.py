"""Reads request bodies within limits of size, time and memory."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Container, Coroutine, MutableMapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from lfv.server.errors import ApiError, ThrottledError, ValidationError

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

_Result = TypeVar("_Result")
#: A body of up to this many times its limit is read to its end, because many clients read the
#: refusal only after they have sent everything.
_DRAIN = 4


class ClientGoneError(Exception):
    """The client closed the connection before its request was answered."""


@dataclass(frozen=True)
class Body:
    data: bytes
    #: Only if a digest was requested.
    sha256: str | None


@dataclass
class Budget:
    """Bytes of request bodies that may still be taken into memory."""

    left: int


class Share:
    """A request's share of a budget. Grows as bytes arrive: announced bytes may never arrive."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._taken = 0

    def grow(self, amount: int) -> bool:
        """Reserve more bytes. Return whether that many were available."""
        if amount > self._budget.left:
            return False
        self._budget.left -= amount
        self._taken += amount
        return True

    def close(self) -> None:
        """Return the bytes to the budget."""
        self._budget.left += self._taken
        self._taken = 0


@dataclass(frozen=True)
class Bounds:
    """Bounds of a request's body, which depend on its operation."""

    limit: int
    what: str
    #: Raised for more bytes than the limit.
    too_large: type[ValidationError]
    budget: Budget


def declared_length(headers: dict[str, str]) -> int | None:
    """Return the Content-Length, or None.

    Raises ValidationError for an encoded body, and for a Content-Length with Transfer-Encoding.
    """
    if is_framed_twice(headers):
        raise ValidationError("a request has a Content-Length or a Transfer-Encoding, not both")
    encoding = headers.get("content-encoding", "identity").lower()
    if encoding not in ("", "identity"):
        raise ValidationError(f"a body with Content-Encoding {encoding[:40]} is not accepted")
    text = headers.get("content-length")
    return int(text) if text is not None and text.isascii() and text.isdigit() else None


def is_framed_twice(headers: Container[str]) -> bool:
    """Whether a proxy and this service may disagree on the body's end (RFC 9112, section 6.1)."""
    return "content-length" in headers and "transfer-encoding" in headers


async def read_body(
    receive: Receive, bounds: Bounds, share: Share, *, timeout_seconds: float, digest: bool
) -> Body:
    """Read the whole body.

    Raises:
        ValidationError: It has more bytes than the limit, or took more than ``timeout_seconds``.
        ThrottledError: The budget has no room for it.
        ClientGoneError: The client closed the connection.
    """
    try:
        async with asyncio.timeout(timeout_seconds):
            return await _read(receive, bounds, share, digest=digest)
    except TimeoutError:
        raise ValidationError(f"the body did not arrive within {timeout_seconds:g} s") from None


async def discard_body(receive: Receive, limit: int, *, timeout_seconds: float) -> None:
    """Read and discard a body, within the limits of time and size of a used body.

    Raises ClientGoneError.
    """
    size = 0
    with suppress(TimeoutError):
        async with asyncio.timeout(timeout_seconds):
            while size <= _DRAIN * limit:
                chunk, more = await _next_chunk(receive)
                size += len(chunk)
                if not more:
                    return


async def unless_disconnected(receive: Receive, work: Coroutine[Any, Any, _Result]) -> _Result:
    """Return the result of ``work``, unless the client disconnects. The body must have arrived.

    If the client disconnects first, cancels the work and raises ClientGoneError.
    """
    done = asyncio.ensure_future(work)
    left = asyncio.ensure_future(_disconnect(receive))
    try:
        await asyncio.wait((done, left), return_when=asyncio.FIRST_COMPLETED)
        if not done.done():
            raise ClientGoneError
        return done.result()
    finally:
        for task in (done, left):
            task.cancel()
        await asyncio.gather(done, left, return_exceptions=True)


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _read(receive: Receive, bounds: Bounds, share: Share, *, digest: bool) -> Body:
    data = bytearray()  # not a list, where each small part takes more memory than its bytes
    size = 0
    sha256 = hashlib.sha256() if digest else None
    refusal: ApiError | None = None
    more = True
    while more:
        chunk, more = await _next_chunk(receive)
        size += len(chunk)
        if size > bounds.limit:
            refusal = bounds.too_large(f"{bounds.what} has more than {bounds.limit} bytes")
        elif refusal is None and not share.grow(len(chunk)):
            refusal = ThrottledError("too many large requests at once")
        if refusal is None:
            data += chunk
            if sha256 is not None:
                sha256.update(chunk)
            continue
        data.clear()
        share.close()
        if size > _DRAIN * bounds.limit:
            break
    if refusal is not None:
        raise refusal
    return Body(bytes(data), sha256.hexdigest() if sha256 else None)


async def _next_chunk(receive: Receive) -> tuple[bytes, bool]:
    """Return the next part of a body, and whether there is more. Raises ClientGoneError."""
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientGoneError
    return message.get("body", b""), message.get("more_body", False)
