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


def serial_first(attributes: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    """Return the attributes in their order, but with the serial number first."""
    return tuple(sorted(attributes.items(), key=lambda one: not is_serial(one[0])))
