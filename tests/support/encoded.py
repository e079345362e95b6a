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
