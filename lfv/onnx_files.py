"""Which files an exported ONNX model consists of, and what they say of it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

#: Files that anomalib 0.x and 1.x write beside the graph: thresholds, and in 0.x the transform.
ANOMALIB_METADATA = ("metadata.json", "meta_data.json")
_SHOWN = ("image_threshold", "pixel_threshold", "task")
_MAX_BYTES = 1 << 20


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
    """SHA-256, in hexadecimal, of the ONNX file, the weights and what anomalib wrote beside it.

    Exporters name the weights after the file: ``model.onnx.data`` belongs to ``model.onnx``.

    Raises:
        OSError: A file cannot be read.
        ValueError: As :func:`find_onnx_file`.
    """
    file = find_onnx_file(path)
    digest = hashlib.sha256()
    metadata = (file.parent / name for name in ANOMALIB_METADATA)
    beside = sorted(file.parent.glob(f"{file.name}?*"))
    for part in (file, *beside, *(one for one in metadata if one.is_file())):
        with part.open("rb") as opened:
            while chunk := opened.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()


def read_export_facts(file: Path) -> dict[str, Any]:
    """Threshold and task of the anomalib export that ``file`` belongs to, where they are known.

    They are for people: the model's limits are measured anew on the user's images.
    """
    for metadata in (file.parent / name for name in ANOMALIB_METADATA):
        try:
            if metadata.stat().st_size > _MAX_BYTES:
                continue
            found = json.loads(metadata.read_bytes())
        except (OSError, ValueError):
            continue
        if isinstance(found, dict):
            shown = {name: found.get(name) for name in _SHOWN}
            return {name: one for name, one in shown.items() if isinstance(one, int | float | str)}
    return {}
