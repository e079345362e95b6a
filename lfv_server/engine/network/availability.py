"""Whether torch is there, which only the training of networks needs."""

from __future__ import annotations

from importlib.util import find_spec

from lfv_server.engine.errors import TrainingError


def require_torch() -> None:
    """Make sure, without importing it, that torch can be imported.

    :raises TrainingError: saying how it is installed.
    """
    if find_spec("torch") is None:
        raise TrainingError(
            "Training a network needs PyTorch, which is not installed: "
            "pip install 'lfv-pipeline[network]'."
        )
