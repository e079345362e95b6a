"""Values that cross the engine's seam. All frozen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Progress = Callable[[float, str], None]
"""Called with the share of a training that is done, 0 to 1, and what is being done."""


@dataclass(frozen=True)
class TrainingImage:
    """One labelled image of a training or test dataset."""

    source_ref: str
    """As in the manifest; only used to name the image in reports and errors."""
    path: Path
    """A local PNG or JPEG."""
    is_anomalous: bool
    mask_path: Path | None = None
    """A PNG of any size and mode that paints anomalies in the colours of ``mask_colors``."""
    mask_colors: Mapping[str, str] = field(default_factory=dict)
    """``'#RRGGBB'`` to anomaly type, from the manifest's ``internal-color-map``."""


@dataclass(frozen=True)
class TrainingOptions:
    """How to train. The defaults are meant to be right."""

    seed: int = 20_200_720
    """Everything random derives from it: same data, same options, same machine, same model."""
    workers: int = 2
    """Threads for features and heads; the result does not depend on it."""
    report: bool = True
    """Write ``report/`` into the artifact."""
    backbone: Path | None = None
    """An ONNX file, image to feature maps, to try beside our own features."""
    detector: Path | None = None
    """An ONNX file, image to anomaly score and map, to calibrate instead of training."""
    onnx_bytes: int = 256 * 1024 * 1024
    """Bytes that such a file may have."""
    network: bool = False
    """Train a network of convolutions too, which needs torch, and keep it where it helps."""


@dataclass(frozen=True)
class EvaluatedImage:
    """What the model said about one image that it was not trained on."""

    source_ref: str
    is_anomalous_truth: bool
    is_anomalous: bool
    confidence: float
    """In the verdict ``is_anomalous``, 0 to 1."""
    areas: Mapping[str, float] = field(default_factory=dict)
    """Anomaly type to fraction of the image, 0 to 1; empty for classification models."""

    @property
    def correct(self) -> bool:
        """Whether verdict and label agree."""
        return self.is_anomalous == self.is_anomalous_truth


@dataclass(frozen=True)
class TrainingOutcome:
    """What a training produced, beside the artifact folder."""

    width: int
    height: int
    anomaly_types: tuple[tuple[str, str], ...]
    """(name, ``'#RRGGBB'``) without background; empty for a classification model."""
    f1: float
    precision: float
    recall: float
    evaluated: tuple[EvaluatedImage, ...]
    evaluation: dict[str, Any]
    """Content of the EvaluationResult JSON file."""
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class PredictedAnomaly:
    """One element of DetectAnomalyResult's ``Anomalies``."""

    name: str
    area: float
    """Fraction of the image, 0 to 1."""
    color: str
    """``'#RRGGBB'``, as painted in the mask."""


@dataclass(frozen=True)
class Prediction:
    """The verdict on one image."""

    is_anomalous: bool
    confidence: float
    """In that verdict, 0 to 1: 0.9 with ``is_anomalous`` false is a rather sure normal."""
    anomalies: tuple[PredictedAnomaly, ...] = ()
    """Segmentation models only: ``background`` first, then the types found, largest first."""
    mask_png: bytes | None = None
    """Segmentation models only: a PNG of the image's dimensions."""
