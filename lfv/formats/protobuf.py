"""The wire format of protocol buffers, version 3, for small messages.

A message is a frozen dataclass whose fields declare their numbers and types::

    @dataclass(frozen=True)
    class Handle(Message):
        name: str = field(1, STRING)
        size: int = field(2, VARINT)

As the format requires, fields with the type's zero value are omitted, and unknown fields are
skipped. The code follows the public description of the encoding; nothing is generated.
"""

from __future__ import annotations

import dataclasses
import struct
from typing import Any, Self

STRING, BYTES, VARINT, BOOL, FLOAT = "string", "bytes", "varint", "bool", "float"
_VARINT_WIRE, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_ZERO: dict[str, Any] = {STRING: "", BYTES: b"", VARINT: 0, BOOL: False, FLOAT: 0.0}
_SIGNED = 1 << 63
_MASK = (1 << 64) - 1


class WireFormatInvalid(ValueError):
    """The bytes are not a valid message."""


def field(number: int, kind: str | type[Message], *, repeated: bool = False) -> Any:
    """Declare a dataclass field; messages default to None, repeated fields to ()."""
    default: Any = () if repeated else (_ZERO[kind] if isinstance(kind, str) else None)
    return dataclasses.field(default=default, metadata={"wire": (number, kind, repeated)})


@dataclasses.dataclass(frozen=True)
class Message:
    """Base class of messages."""

    def encode(self) -> bytes:
        """Encode the message."""
        parts: list[bytes] = []
        for one in dataclasses.fields(self):
            number, kind, repeated = one.metadata["wire"]
            value = getattr(self, one.name)
            for item in value if repeated else (value,):
                if item is None or (isinstance(kind, str) and not repeated and not item):
                    continue
                _encode_field(parts, number, kind, item)
        return b"".join(parts)

    @classmethod
    def decode(cls, data: bytes | memoryview) -> Self:
        """Decode a message. Raises WireFormatInvalid."""
        known = {
            one.metadata["wire"][0]: (one.name, *one.metadata["wire"][1:])
            for one in dataclasses.fields(cls)
        }
        found: dict[str, Any] = {}
        view, position = memoryview(data), 0
        while position < len(view):
            tag, position = _varint(view, position)
            number, wire = tag >> 3, tag & 7
            value, position = _value(view, position, wire)
            if number not in known:
                continue
            name, kind, repeated = known[number]
            item = _decode_value(kind, wire, value)
            found[name] = (*found.get(name, ()), item) if repeated else item
        return cls(**found)


def _encode_field(parts: list[bytes], number: int, kind: Any, item: Any) -> None:
    if kind in (VARINT, BOOL):
        parts += (_to_varint(number << 3), _to_varint(int(item)))
    elif kind == FLOAT:
        parts += (_to_varint(number << 3 | _FIXED32), struct.pack("<f", item))
    else:
        body = item.encode() if isinstance(item, str | Message) else item
        parts += (_to_varint(number << 3 | _LENGTH), _to_varint(len(body)), body)


def _to_varint(value: int) -> bytes:
    value &= _MASK
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _varint(view: memoryview, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(view):
            raise WireFormatInvalid("the message is truncated")
        byte = view[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & _MASK, position
    raise WireFormatInvalid("a number is longer than 64 bits")


def _value(view: memoryview, position: int, wire: int) -> tuple[Any, int]:
    if wire == _VARINT_WIRE:
        return _varint(view, position)
    if wire == _LENGTH:
        size, position = _varint(view, position)
    elif wire in (_FIXED32, _FIXED64):
        size = 4 if wire == _FIXED32 else 8
    else:
        raise WireFormatInvalid(f"wire type {wire} is unknown")
    if position + size > len(view):
        raise WireFormatInvalid("the message is truncated")
    return view[position : position + size], position + size


def _decode_value(kind: Any, wire: int, value: Any) -> Any:
    expected = {VARINT: _VARINT_WIRE, BOOL: _VARINT_WIRE, FLOAT: _FIXED32}.get(kind, _LENGTH)
    if wire != expected:
        raise WireFormatInvalid(f"a field has wire type {wire} instead of {expected}")
    if kind == VARINT:
        return value - (1 << 64) if value & _SIGNED else value
    if kind == BOOL:
        return bool(value)
    if kind == FLOAT:
        return struct.unpack("<f", value)[0]
    if kind == BYTES:
        return bytes(value)
    if kind == STRING:
        try:
            return bytes(value).decode()
        except UnicodeDecodeError as error:
            raise WireFormatInvalid("a string is not valid UTF-8") from error
    return kind.decode(value)
