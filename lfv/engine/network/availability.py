"""Checks whether torch is installed. Only the training of networks needs it."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

from lfv.engine.errors import TrainingError


def require_torch() -> None:
    """Check, without importing it, that torch is installed.

    Raises:
        TrainingError: If not; the message says how to install it.
    """
    if find_spec("torch") is None:
        raise TrainingError(
            "Training a network needs PyTorch, which is not installed: "
            "pip install 'lfv-pipeline[network]'."
        )


def import_learning() -> ModuleType:
    """Import :mod:`lfv.engine.network.learning`, and torch with it.

    Raises:
        TrainingError: If torch is not installed or cannot be loaded.
    """
    require_torch()
    try:
        return import_module("lfv.engine.network.learning")
    except (ImportError, OSError) as error:
        raise TrainingError(f"PyTorch is installed, but cannot be loaded: {error}.") from error
