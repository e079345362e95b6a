"""Verdicts that a label shows to be wrong."""

from __future__ import annotations

from typing import Literal

Mistake = Literal["escape", "false alarm"]


def mistake_of(
    verdict: str | None, reviewed: str | None, expected_is_anomalous: bool | None
) -> Mistake | None:
    """Return the mistake of a current verdict; None if there is none, or it is unknown.

    A person who accepted or rejected the part (`reviewed`) knows better than its label.
    """
    if reviewed in ("accept", "reject"):
        return None
    if verdict == "accept" and expected_is_anomalous is True:
        return "escape"
    return "false alarm" if verdict == "reject" and expected_is_anomalous is False else None
