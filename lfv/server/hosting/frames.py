"""The protocol between the service and its inference units, over a Unix socket.

A frame is a JSON head and a binary body, each preceded by its length. Image and mask bytes are
never pickled, and nothing that a unit sends is executed.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import IO, Any

import orjson

_LENGTHS = struct.Struct("!IQ")
_MAX_HEAD = 1 << 20
_MAX_BODY = 64 << 20


class FrameError(Exception):
    """The other end closed the socket, or sent something that is not a frame."""


def pack(head: dict[str, Any], body_length: int) -> bytes:
    """Return a frame's lengths and head, to be followed by its body."""
    encoded = orjson.dumps(head)
    return _LENGTHS.pack(len(encoded), body_length) + encoded


async def read_frame(reader: asyncio.StreamReader) -> tuple[dict[str, Any], bytes]:
    """Read a frame in the service. Raises FrameError."""
    try:
        head_length, body_length = _lengths(await reader.readexactly(_LENGTHS.size))
        head = await reader.readexactly(head_length)
        body = await reader.readexactly(body_length)
    except (asyncio.IncompleteReadError, OSError) as error:
        raise FrameError("the connection ended") from error
    return _head(head), body


def receive(stream: IO[bytes]) -> tuple[dict[str, Any], bytes]:
    """Read a frame in the unit, blocking. Raises FrameError."""
    head_length, body_length = _lengths(_read_exactly(stream, _LENGTHS.size))
    head = _read_exactly(stream, head_length)
    return _head(head), _read_exactly(stream, body_length)


def send(connection: socket.socket, head: dict[str, Any], body: bytes = b"") -> None:
    """Write a frame in the unit. Raises FrameError."""
    try:
        connection.sendall(pack(head, len(body)))
        if body:
            connection.sendall(body)
    except OSError as error:
        raise FrameError("the connection ended") from error


def _lengths(raw: bytes) -> tuple[int, int]:
    head_length, body_length = _LENGTHS.unpack(raw)
    if head_length > _MAX_HEAD or body_length > _MAX_BODY:
        raise FrameError("not a valid frame")
    return head_length, body_length


def _head(raw: bytes) -> dict[str, Any]:
    try:
        head: dict[str, Any] = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise FrameError("not a valid frame") from error
    return head


def _read_exactly(stream: IO[bytes], length: int) -> bytes:
    try:
        data = stream.read(length)
    except OSError as error:
        raise FrameError("the connection ended") from error
    if len(data) < length:
        raise FrameError("the connection ended")
    return data
