"""What can go wrong in the engine, as one tree.

    EngineError
    ├── TrainingError     train(): the data cannot be trained on; the sentence is fit for a user
    ├── ArtifactError     Predictor.load(): damaged, tampered with, or of an unknown version
    └── ImageRejected     predict(): this image cannot be judged; ``reason`` says why in one word

Errors of Pillow, numpy, onnxruntime and the file system are translated where they arise, so
that none of them reaches a caller.
"""

from __future__ import annotations


class EngineError(Exception):
    """Base of everything the engine raises on purpose."""


class TrainingError(EngineError):
    """The data cannot be trained on.  ``str(error)`` is one sentence that names the way out."""


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
