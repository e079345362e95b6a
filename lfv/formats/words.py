"""Numbers in sentences."""

from __future__ import annotations


def count_of(count: int, noun: str, plural: str = "") -> str:
    """'1 image', '2 images', '1,200 images'; `plural` is for nouns that don't just take an s."""
    return f"{count:,} {form_of(count, noun, plural or noun + 's')}"


def form_of(count: int, one: str, many: str) -> str:
    """The form of a word that fits a count: 'is' or 'are', 'mask shows' or 'masks show'."""
    return one if count == 1 else many
