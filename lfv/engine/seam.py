"""The engine as its callers see it: a protocol, and the values and errors that cross it.

The service uses its engine only through this module, so that another engine, such as the tests'
fake, can replace :mod:`lfv.engine`. Importing it loads neither numpy nor onnxruntime.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from lfv.engine.errors import ArtifactError, EngineError, ImageRejected, TrainingError
from lfv.engine.types import (
    Curve,
    EvaluatedImage,
    Progress,
    TrainingFindings,
    TrainingImage,
    TrainingOptions,
    TrainingOutcome,
)
from lfv.formats.answers import DetectAnomalyResult


class LoadedModel(Protocol):
    """A trained model, ready to judge images. Not thread-safe: one per process."""

    @property
    def width(self) -> int:
        """Width of the images it accepts, in pixels."""

    @property
    def height(self) -> int:
        """Height of the images it accepts, in pixels."""

    def predict(self, body: bytes, *, with_map: bool = False) -> DetectAnomalyResult:
        """Judge one image, a PNG or JPEG of the model's dimensions.

        Args:
            body: The file's bytes.
            with_map: Whether to add a heat map, if the model has one.

        Raises:
            ImageRejected: If it cannot be decoded or has other dimensions.
        """

    def predict_pixels(self, pixels: bytes, width: int, height: int) -> DetectAnomalyResult:
        """Judge one image given as interleaved RGB pixels, three bytes each.

        Raises:
            ImageRejected: If its dimensions differ from the model's.
        """


class Engine(Protocol):
    """What a module must offer to train and serve models."""

    def find_damaged(self, images: Sequence[TrainingImage], /) -> dict[str, str]:
        """Return the problem with each image that cannot be decoded, by source-ref."""

    def train(
        self,
        train: Sequence[TrainingImage],
        test: Sequence[TrainingImage],
        output: Path,
        *,
        options: TrainingOptions | None = None,
        progress: Progress,
    ) -> TrainingOutcome:
        """Train on ``train``, measure on ``test``, and write the model to the folder ``output``.

        Raises:
            TrainingError: If the images cannot be trained on; the message is for the user.
        """

    def load(self, artifact: Path, /, *, threads: int = 1) -> LoadedModel:
        """Load a model that :meth:`train` wrote.

        Raises:
            ArtifactError: If the folder is damaged or of another version.
        """


def load_engine(module: str) -> Engine:
    """Import an engine by its module's name."""
    return cast("Engine", import_module(module))


__all__ = [
    "ArtifactError",
    "Curve",
    "Engine",
    "EngineError",
    "EvaluatedImage",
    "ImageRejected",
    "LoadedModel",
    "Progress",
    "TrainingError",
    "TrainingFindings",
    "TrainingImage",
    "TrainingOptions",
    "TrainingOutcome",
    "load_engine",
]
