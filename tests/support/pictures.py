"""Images that differ from each other, made on the spot."""

from __future__ import annotations

from pathlib import Path

from PIL import Image


def make_pictures(folder: Path, count: int, *, size: int = 64, first: int = 0) -> list[Path]:
    """`count` small PNG files in `folder`, no two with the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for number in range(first, first + count):
        picture = Image.new("L", (size, size), 128)
        for bit in range(16):
            value = 255 if number >> bit & 1 else 0
            picture.paste(value, (bit * 4, 0, bit * 4 + 4, size // 2))
        path = folder / f"{number:05}.png"
        picture.save(path)
        made.append(path)
    return made
