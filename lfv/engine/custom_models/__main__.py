"""``python -m lfv.engine.custom_models backbone|detector PATH LIMIT COPY``: checks a user's model.

PATH is an ONNX file, or a folder with one and its weights. An accepted model is written to COPY as
one file. Prints a JSON object: ``accepted``, the view of the model, or ``refused``, the reason in
one word, and ``message``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from lfv.engine.custom_models.acceptance import accept_backbone, accept_detector
from lfv.engine.custom_models.exported_onnx import read_export
from lfv.engine.errors import OnnxRejected


def check(role: str, path: Path, limit: int, copy: Path) -> dict[str, Any]:
    """Return the object to print."""
    try:
        body = read_export(path, limit)
        found = accept_backbone(body) if role == "backbone" else accept_detector(body)
    except OnnxRejected as error:
        return {"refused": error.reason, "message": str(error)}
    copy.write_bytes(found.body)
    return {"accepted": found.view.to_json(), "sha256": found.sha256, "seconds": found.seconds}


if __name__ == "__main__":
    sys.stdout.write(
        json.dumps(check(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])))
    )
