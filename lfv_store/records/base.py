"""Types that several records use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

JsonObject = Mapping[str, Any]
VerdictName = Literal["accept", "reject", "review"]
VERDICTS: tuple[VerdictName, ...] = get_args(VerdictName)
