"""The engine: learns from labelled images what a defect looks like, and finds it in new ones.

Knows nothing of the API around it.  CPU only; numpy, scipy, Pillow, onnx and onnxruntime.
"""

from lfv.engine.dataset import find_damaged
from lfv.engine.errors import (
    ArtifactError,
    EngineError,
    GraphRefused,
    ImageRejected,
    TrainingError,
)
from lfv.engine.predictor import Predictor
from lfv.engine.training import train
from lfv.engine.types import (
    EvaluatedImage,
    PredictedAnomaly,
    Prediction,
    TrainingImage,
    TrainingOptions,
    TrainingOutcome,
)

__all__ = [
    "ArtifactError",
    "EngineError",
    "EvaluatedImage",
    "GraphRefused",
    "ImageRejected",
    "PredictedAnomaly",
    "Prediction",
    "Predictor",
    "TrainingError",
    "TrainingImage",
    "TrainingOptions",
    "TrainingOutcome",
    "find_damaged",
    "train",
]
