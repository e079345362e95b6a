"""What can go wrong in the engine, as one tree.

    EngineError
    ├── TrainingError     train(): the data cannot be trained on; the sentence is fit for a user
    │   └── OnnxRejected  a user's ONNX file is refused; ``reason`` says why in one word
    ├── ArtifactError     Predictor.load(): damaged, tampered with, or of an unknown version
    └── ImageRejected     predict(): this image cannot be judged; ``reason`` says why in one word

Errors of Pillow, numpy, onnxruntime and the file system are translated where they arise, so
that none of them reaches a caller.
"""

from __future__ import annotations


class EngineError(Exception):
    """Base of everything the engine raises on purpose."""


class TrainingError(EngineError):
    """The data cannot be trained on. ``str(error)`` is one sentence that names the way out."""


class OnnxRejected(TrainingError):
    """A user's ONNX file will not be run.

    ``reason`` is one of ``unreadable``, ``too_large``, ``not_onnx``, ``external_data``,
    ``foreign_domain``, ``too_complex``, ``invalid``, ``input``, ``batch``, ``outputs``,
    ``too_slow``, ``out_of_memory``, ``broke``, ``not_finite``, ``not_repeatable``.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class ArtifactError(EngineError):
    """The model folder is not one this engine wrote, or is not as it wrote it."""


class ImageRejected(EngineError):
    """One image cannot be judged.

    ``reason`` is one of ``not_an_image``, ``format``, ``truncated``, ``animated``, ``too_small``,
    ``too_large``, ``dimensions``, ``unsupported_mode``.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
