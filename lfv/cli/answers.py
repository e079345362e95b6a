"""A model's answer and a policy's reasons in few words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def answer(is_anomalous: bool | None, confidence: float | None) -> str:
    """What the model said; nothing where it was not asked."""
    if is_anomalous is None or confidence is None:
        return ""
    return f"{'anomaly' if is_anomalous else 'normal'} {confidence:.3f}"


def reasons_text(reasons: Iterable[Mapping[str, Any]]) -> str:
    """What led to a verdict."""
    return " ".join(str(reason.get("text") or reason.get("rule", "")) for reason in reasons)
