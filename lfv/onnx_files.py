"""Which files an exported ONNX model consists of."""

from __future__ import annotations

import hashlib
from pathlib import Path


def find_onnx_file(path: Path) -> Path:
    """The ONNX file that ``path`` is, or the only one in the folder that it is.

    Raises:
        ValueError: There is none, or there are several.
    """
    if not path.is_dir():
        return path
    found = sorted(path.rglob("*.onnx"))
    if not found:
        raise ValueError(f"There is no ONNX file in {path}")
    if len(found) > 1:
        names = ", ".join(str(one.relative_to(path)) for one in found[:3])
        raise ValueError(f"There are several ONNX files in {path} ({names}): give one of them")
    return found[0]


def onnx_digest(path: Path) -> str:
    """SHA-256, in hexadecimal, of the ONNX file and the weights beside it.

    Exporters name the weights after the file: ``model.onnx.data`` belongs to ``model.onnx``.

    Raises:
        OSError: A file cannot be read.
        ValueError: As :func:`find_onnx_file`.
    """
    file = find_onnx_file(path)
    digest = hashlib.sha256()
    for part in (file, *sorted(file.parent.glob(f"{file.name}?*"))):
        with part.open("rb") as opened:
            while chunk := opened.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()
