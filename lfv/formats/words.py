"""Numbers in sentences."""

from __future__ import annotations


def count_of(count: int, noun: str, plural: str = "") -> str:
    """'1 image', '2 images', '1,200 images'; `plural` is for nouns that don't just take an s."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"
