"""Generated images that differ from each other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def noise(size: tuple[int, int], deviation: float, seed: int = 0) -> Image.Image:
    """Grey noise of `deviation` around 128, the same in every process.

    ``Image.effect_noise`` draws from the C library's generator, whose state is that of the process:
    its pixels depend on the tests that ran before.
    """
    width, height = size
    values = np.random.default_rng(seed).normal(128, deviation, (height, width))
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))


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
