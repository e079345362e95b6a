"""Words of messages: counts with their nouns, and text that is safe to show."""

from __future__ import annotations


def count_of(count: int, noun: str, plural: str = "") -> str:
    """Return '1 image', '2 images' or '1,200 images'; `plural` is for irregular nouns."""
    return f"{count:,} {form_of(count, noun, plural or noun + 's')}"


def form_of(count: int, one: str, many: str) -> str:
    """Choose the singular or plural of a word: 'is' or 'are', 'mask shows' or 'masks show'."""
    return one if count == 1 else many


def escaped(text: str) -> str:
    """Escape control characters and those that change the writing direction."""
    if text.isprintable():
        return text
    return "".join(
        character
        if character.isprintable()
        else character.encode("unicode_escape", "backslashreplace").decode("ascii")
        for character in text
    )
