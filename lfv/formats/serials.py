"""Which of a part's attributes is its serial number."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

#: `serial`, `serial_number`, `SerialNo`, `S/N` and the like.
_SERIAL = re.compile(r"(serial|sn|s/n)[ _-]?(no|nr|num|number)?\.?", re.IGNORECASE)


def is_serial(name: str) -> bool:
    """Whether an attribute of this name is the part's serial number."""
    return _SERIAL.fullmatch(name.strip()) is not None


def split_serial(
    attributes: Mapping[str, Any],
) -> tuple[tuple[str, Any] | None, tuple[tuple[str, Any], ...]]:
    """Return name and value of the serial number, None without one, and the other attributes."""
    items = sorted(attributes.items(), key=lambda one: not is_serial(one[0]))
    serial = items.pop(0) if items and is_serial(items[0][0]) else None
    return serial, tuple(items)
