"""The engine's errors.

    EngineError
    ├── TrainingError     train(): the data cannot be trained on; the sentence is fit for a user
    │   └── OnnxRejected  a user's ONNX file is refused; ``reason`` says why in one word
    ├── ArtifactError     Predictor.load(): damaged, tampered with, or of an unknown version
    └── ImageRejected     predict(): this image cannot be judged; ``reason`` says why in one word

Errors of Pillow, numpy, onnxruntime and the file system are translated where they occur, so that
none of them reaches a caller.
"""

from __future__ import annotations


class EngineError(Exception):
    """Base class of the engine's errors."""


class TrainingError(EngineError):
    """The data cannot be trained on. The message is one sentence that names the remedy."""


class OnnxRejected(TrainingError):
    """A user's ONNX file is refused.

    ``reason`` is one of ``unreadable``, ``too_large``, ``not_onnx``, ``external_data``,
    ``foreign_domain``, ``too_complex``, ``invalid``, ``input``, ``batch``, ``outputs``,
    ``too_slow``, ``out_of_memory``, ``broke``, ``not_finite``, ``not_repeatable``.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class ArtifactError(EngineError):
    """The model folder was not written by this engine, or was changed since."""


class ImageRejected(EngineError):
    """One image cannot be judged.

    ``reason`` is one of ``not_an_image``, ``format``, ``truncated``, ``animated``, ``too_small``,
    ``too_large``, ``dimensions``, ``unsupported_mode``.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
