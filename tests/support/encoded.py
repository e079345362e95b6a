"""Images, and files that pretend to be images, byte by byte."""

from __future__ import annotations

import io
from typing import Any

from PIL import Image


def encoded(
    format_: str = "PNG", size: tuple[int, int] = (64, 64), mode: str = "RGB", **save: Any
) -> bytes:
    out = io.BytesIO()
    Image.new(mode, size).save(out, format_, **save)
    return out.getvalue()


def make_image(
    format_: str = "PNG", size: tuple[int, int] = (64, 64), mode: str = "RGB", **save: Any
) -> bytes:
    """Return an image whose pixels cannot be compressed."""
    image = Image.new(mode, size)
    if mode in ("L", "RGB"):
        noise = bytes((x * 7 + x // 11) % 251 for x in range(size[0] * size[1] * len(mode)))
        image.frombytes(noise)
    out = io.BytesIO()
    image.save(out, format_, **save)
    return out.getvalue()
