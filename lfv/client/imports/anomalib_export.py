"""What an anomalib export says of itself: `metadata.json` beside `model.onnx`.

anomalib 1 writes it; version 2 puts the same into the ONNX file. Nothing depends on it: the model's
limits are measured anew on the user's images.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_SHOWN = ("image_threshold", "pixel_threshold", "task")
_MAX_BYTES = 1 << 20


def read_export_facts(file: Path) -> dict[str, Any]:
    """Threshold and task of the export that `file` belongs to, where they are known."""
    metadata = file.parent / "metadata.json"
    try:
        if metadata.stat().st_size > _MAX_BYTES:
            return {}
        found = json.loads(metadata.read_bytes())
    except (OSError, ValueError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {name: found[name] for name in _SHOWN if isinstance(found.get(name), int | float | str)}
