"""A model's answer and a policy's reasons as short texts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def answer(is_anomalous: bool | None, confidence: float | None) -> str:
    """Return the model's answer, or an empty string if there is none."""
    if is_anomalous is None or confidence is None:
        return ""
    return f"{'anomaly' if is_anomalous else 'normal'} {confidence:.3f}"


def reasons_text(reasons: Iterable[Mapping[str, Any]]) -> str:
    """Return the reasons of a verdict."""
    return " ".join(str(reason.get("text") or reason.get("rule", "")) for reason in reasons)
