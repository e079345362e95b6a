"""Synthetic parts for the engine's tests: a plate on a table, intact, scratched or stained."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from lfv.engine import TrainingImage

SIZE = (96, 80)
COLORS = {"#23A436": "scratch", "#FF7F0E": "stain"}


def plate(
    seed: int, *, scratch: bool = False, stain: bool = False
) -> tuple[Image.Image, Image.Image]:
    """A plate and its mask (RGB, white background)."""
    random = np.random.default_rng(seed)
    noise = random.normal(120, 6, (SIZE[1], SIZE[0], 1)) + random.normal(
        0, 2, (SIZE[1], SIZE[0], 3)
    )
    image = Image.fromarray(np.clip(noise, 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    draw.ellipse((14, 8, 82, 72), fill=(170, 150, 120))
    mask = Image.new("RGB", SIZE, "white")
    paint = ImageDraw.Draw(mask)
    if scratch:
        x, y = int(random.integers(26, 50)), int(random.integers(20, 44))
        end = (x + 20, y + int(random.integers(-6, 14)))
        draw.line((x, y, *end), fill=(30, 30, 30), width=3)
        paint.line((x, y, *end), fill="#23A436", width=3)
    if stain:
        x, y = int(random.integers(30, 56)), int(random.integers(22, 46))
        draw.ellipse((x, y, x + 14, y + 12), fill=(120, 40, 160))
        paint.ellipse((x, y, x + 14, y + 12), fill="#FF7F0E")
    return image, mask


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="session")
def make_plates(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., list[TrainingImage]]:
    """make_plates(normal, anomalous, first_seed, masks, kinds): labelled images in a new folder."""

    def make(
        normal: int,
        anomalous: int,
        *,
        first: int = 0,
        masks: bool = False,
        kinds: Sequence[str] = ("scratch",),
    ) -> list[TrainingImage]:
        folder = tmp_path_factory.mktemp("plates")
        images = []
        for number in range(normal + anomalous):
            wrong = number >= normal
            kind = kinds[number % len(kinds)] if wrong else ""
            image, mask = plate(first + number, scratch="scratch" in kind, stain="stain" in kind)
            path = folder / f"{number}.png"
            image.save(path)
            mask_path: Path | None = None
            if masks and wrong:
                mask_path = folder / f"{number}.mask.png"
                mask.save(mask_path)
            colors = COLORS if mask_path else {}
            images.append(TrainingImage(f"plates/{number}.png", path, wrong, mask_path, colors))
        return images

    return make


@pytest.fixture
def run_python() -> Callable[[str], str]:
    """Return the output of a separate Python process."""

    def run(code: str) -> str:
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, capture_output=True, check=True, text=True)
        return done.stdout.strip()

    return run
