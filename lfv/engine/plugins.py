"""The engine's optional parts, loaded by name when an option or a stored model asks for one.

The core does not import them, and uses them through the protocols below. Each part's ``plugin``
module holds one object that implements its protocol, which mypy verifies.

    custom_models   a user's ONNX file, as a backbone or as a detector
    network         a network of convolutions, trained with torch
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from lfv.engine.types import Progress, TrainingImage, TrainingOptions, TrainingOutcome

if TYPE_CHECKING:
    from lfv.engine.artifact import Contents
    from lfv.engine.backbone import Backbone
    from lfv.engine.trained_model import TrainedModel
    from lfv.engine.training.dataset import Dataset
    from lfv.engine.training.fit import Fitted
    from lfv.engine.training.grouping import Groups

Matrix = NDArray[np.float32]
#: Name of the network's file in the artifact, and of its entry in the description.
NETWORK = "network"
#: Name of the detector's file in the artifact, and of its entry in the description.
DETECTOR = "detector"


class Companion(Protocol):
    """A trained network that a model uses in addition to its own heads."""

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) an image is scaled to."""

    @property
    def onnx_model(self) -> bytes:
        """The serialised ONNX model."""

    def open(self, *, threads: int = 1) -> RunningCompanion:
        """Open a session."""

    def paint(self, own: Matrix, output: Matrix) -> Matrix:
        """Combine the model's logits with the network's output."""

    def score(self, own: float, output: Matrix) -> float:
        """Combine the model's score with the network's output."""

    def to_json(self) -> dict[str, Any]:
        """Return its entry in the artifact's description."""


class RunningCompanion(Protocol):
    """A network in a session."""

    def __call__(self, pixels: NDArray[np.uint8], /) -> Matrix:
        """Map uint8 [height, width, 3] to the output."""


class BackbonePlugin(Protocol):
    """Backbones from users' ONNX files."""

    def read(self, path: Path, limit: int, image: tuple[int, int]) -> Backbone:
        """Accept a file of at most ``limit`` bytes for images of this (width, height).

        Raises:
            OnnxRejected: If it cannot be used; the message says why.
        """

    def from_contents(self, contents: Contents) -> Backbone:
        """Load an artifact's backbone.

        Raises:
            ArtifactError: If it would not be accepted.
        """


class DetectorPlugin(Protocol):
    """Detectors from users' ONNX files."""

    def recalibrate(
        self,
        train: Sequence[TrainingImage],
        test: Sequence[TrainingImage],
        output: Path,
        path: Path,
        options: TrainingOptions,
        progress: Progress,
    ) -> TrainingOutcome:
        """Make a model of the detector at ``path``.

        Raises:
            TrainingError: If the images or the detector cannot be used.
        """

    def from_contents(self, contents: Contents) -> TrainedModel:
        """Load an artifact's model."""


class NetworkPlugin(Protocol):
    """Networks trained with torch."""

    def require(self) -> None:
        """Raise TrainingError if torch is missing."""

    def improve(
        self,
        data: Dataset,
        fitted: Fitted,
        folds: Groups,
        options: TrainingOptions,
        executor: Executor,
        progress: Progress,
    ) -> Fitted:
        """Train a network, and add it if it helps. The outcome is added in any case."""

    def from_contents(self, contents: Contents, classes: int) -> Companion:
        """Load an artifact's network, for masks with a number of classes (0 without masks)."""


def backbone_plugin() -> BackbonePlugin:
    """Load the part that reads users' backbones."""
    return cast("BackbonePlugin", _load("custom_models.plugin").BACKBONES)


def detector_plugin() -> DetectorPlugin:
    """Load the part that reads users' detectors."""
    return cast("DetectorPlugin", _load("custom_models.plugin").DETECTORS)


def network_plugin() -> NetworkPlugin:
    """Load the part that trains networks."""
    return cast("NetworkPlugin", _load("network.plugin").NETWORKS)


def _load(name: str) -> Any:
    return import_module(f"lfv.engine.{name}")
