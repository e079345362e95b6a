"""A user's backbone as stored in a model."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lfv.engine.artifact import Contents
from lfv.engine.custom_models.acceptance import accept_backbone
from lfv.engine.custom_models.exported_onnx import read_export
from lfv.engine.custom_models.runner import CustomExtractor, CustomView
from lfv.engine.descriptors import Description, describe
from lfv.engine.ensemble import BACKBONE
from lfv.engine.onnx_safety import check_stored

Matrix = NDArray[np.float32]


@dataclass(frozen=True)
class CustomBackbone:
    """A user's backbone that was inspected and accepted."""

    view: CustomView
    onnx_model: bytes
    #: It makes the model larger and slower, so it must show a clear gain.
    is_gated = True

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) an image is scaled to."""
        return self.view.size

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the ONNX file, in hex."""
        return hashlib.sha256(self.onnx_model).hexdigest()

    @property
    def name(self) -> str:
        """Its name at the start of sentences."""
        return f"The backbone {self.sha256[:12]}"

    def open(self, *, threads: int = 1) -> CustomExtractor:
        """Open a session."""
        return CustomExtractor(self.view, self.onnx_model, threads=threads)

    def describe(self, maps: tuple[Matrix, ...]) -> Description:
        """Pool the maps of an image."""
        return describe(maps[0])

    def to_json(self) -> Mapping[str, Any]:
        """Return plain values."""
        return self.view.to_json()

    @classmethod
    def read(cls, path: Path, limit: int, image: tuple[int, int]) -> CustomBackbone:
        """Read, inspect and try out a file.

        Args:
            path: An ONNX file.
            limit: Largest size in bytes.
            image: (width, height) of the images.

        Raises:
            OnnxRejected: If it cannot be used; the message says why.
        """
        accepted = accept_backbone(read_export(path, limit), image)
        return cls(accepted.view, accepted.body)

    @classmethod
    def from_contents(cls, contents: Contents) -> CustomBackbone:
        """Load the backbone of an artifact, and inspect it again.

        Raises:
            ArtifactError: If its ONNX model is refused.
        """
        stored: Any = contents.model[BACKBONE]
        body = contents.onnx_models[BACKBONE]
        check_stored(body)
        return cls(CustomView.from_json(stored), body)
