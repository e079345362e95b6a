"""Verdicts and the decisions that they come from."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lfv_store.records.base import JsonObject, VerdictName


@dataclass(frozen=True, slots=True)
class NewVerdict:
    """A new verdict for a stored inspection."""

    inspection_id: int
    verdict: VerdictName
    reasons: tuple[JsonObject, ...] | list[JsonObject] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """A policy applied to a whole run. Number 1 is the policy that the run started with."""

    run_id: str
    number: int
    policy: dict[str, Any]
    policy_sha256: str
    decided_by: str
    decided_at: datetime
    verdicts: int
    current: bool
    reason: str = ""
    signature: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class VerdictHistory:
    """A verdict on an inspection, with the number of the decision that gave it."""

    decision: int
    verdict: VerdictName
    reasons: list[dict[str, Any]]
    policy_sha256: str
    decided_by: str
    decided_at: datetime
    current: bool
