"""The engine: learns from labelled images what defects look like, and finds them in new images.

    from lfv.engine import Predictor, TrainingImage, train

A library for CPUs that does not depend on the service. The names below are loaded on first use, so
that importing :mod:`lfv.engine.seam` is cheap.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from lfv.engine.errors import (
    ArtifactError,
    EngineError,
    ImageRejected,
    OnnxRejected,
    TrainingError,
)
from lfv.engine.types import (
    Curve,
    EvaluatedImage,
    TrainingFindings,
    TrainingImage,
    TrainingOptions,
    TrainingOutcome,
)

if TYPE_CHECKING:
    from lfv.engine.predictor import Predictor, load
    from lfv.engine.training.dataset import find_damaged
    from lfv.engine.training.train import train

__all__ = [
    "ArtifactError",
    "Curve",
    "EngineError",
    "EvaluatedImage",
    "ImageRejected",
    "OnnxRejected",
    "Predictor",
    "TrainingError",
    "TrainingFindings",
    "TrainingImage",
    "TrainingOptions",
    "TrainingOutcome",
    "find_damaged",
    "load",
    "train",
]

_LAZY = {
    "Predictor": "lfv.engine.predictor",
    "find_damaged": "lfv.engine.training.dataset",
    "load": "lfv.engine.predictor",
    "train": "lfv.engine.training.train",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)
