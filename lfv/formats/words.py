"""Counts and their nouns in sentences."""

from __future__ import annotations


def count_of(count: int, noun: str, plural: str = "") -> str:
    """Return '1 image', '2 images' or '1,200 images'; `plural` is for irregular nouns."""
    return f"{count:,} {form_of(count, noun, plural or noun + 's')}"


def form_of(count: int, one: str, many: str) -> str:
    """Choose the singular or plural of a word: 'is' or 'are', 'mask shows' or 'masks show'."""
    return one if count == 1 else many
