"""Values that cross the engine's seam. All frozen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Progress = Callable[[float, str], None]
"""Called with the share of a training that is done, 0 to 1, and the current activity."""


@dataclass(frozen=True)
class TrainingImage:
    """One labelled image of a training or test dataset."""

    source_ref: str
    """The image's reference in the manifest, used to name it in reports and errors."""
    path: Path
    """A local PNG or JPEG."""
    is_anomalous: bool
    mask_path: Path | None = None
    """A PNG of any size and mode that paints anomalies in the colours of ``mask_colors``."""
    mask_colors: Mapping[str, str] = field(default_factory=dict)
    """``'#RRGGBB'`` to anomaly type, from the manifest's ``internal-color-map``."""
    sample_range: tuple[int, int] | None = None
    """Samples of 16 bits that become black and white; found in training."""


@dataclass(frozen=True)
class TrainingOptions:
    """How to train. The defaults suit most data."""

    seed: int = 20_200_720
    """Source of all randomness: the same data, options and machine give the same model."""
    workers: int = 2
    """Threads for features and heads; the result does not depend on it."""
    backbone: Path | None = None
    """An ONNX file, image to feature maps, to try in addition to the engine's features."""
    pretrained: bool = True
    """Use the pretrained backbone, unless ``backbone`` names another."""
    false_alarms: float = 0.02
    """Accepted false-alarm rate of models trained on normal images only, 0 to 0.5."""
    miss_cost: float = 1.0
    """Cost of a missed defect in false alarms. Changes verdicts, not confidences."""
    detector: Path | None = None
    """An ONNX file, image to anomaly score and map, to calibrate in place of training."""
    onnx_bytes: int = 256 * 1024 * 1024
    """Largest size of such a file."""
    network: bool = False
    """Train a convolutional network too, which needs torch, and keep it if it helps."""


@dataclass(frozen=True)
class EvaluatedImage:
    """The model's verdict on an image that it was not trained on."""

    source_ref: str
    is_anomalous_truth: bool
    is_anomalous: bool
    confidence: float
    """Confidence in ``is_anomalous``, 0 to 1."""
    areas: Mapping[str, float] = field(default_factory=dict)
    """Anomaly type to fraction of the image, 0 to 1; empty for classification models."""

    @property
    def correct(self) -> bool:
        """Whether verdict and label agree."""
        return self.is_anomalous == self.is_anomalous_truth


@dataclass(frozen=True)
class Curve:
    """Points of a curve in the unit square."""

    x: tuple[float, ...]
    y: tuple[float, ...]


@dataclass(frozen=True)
class JudgedImage:
    """A verdict of the evaluation, with its probability of anomaly."""

    source_ref: str
    is_anomalous_truth: bool
    is_anomalous: bool
    confidence: float
    probability: float


@dataclass(frozen=True)
class TriedViews:
    """Views of the images that were tried together, and their cross-validated AUROC."""

    views: tuple[str, ...]
    auroc: float


@dataclass(frozen=True)
class TriedExpert:
    """An expert on a view, its own AUROC, and its weight among all; 0 if not used."""

    name: str
    auroc: float
    weight: float


@dataclass(frozen=True)
class TriedView:
    """A view that the model uses: its size in pixels, and its number of tiles."""

    name: str
    width: int
    height: int
    tiles_across: int
    tiles_down: int


@dataclass(frozen=True)
class TrainingFindings:
    """The findings of a training as plain values, for its report."""

    normal: int
    anomalous: int
    """Images trained on."""
    out_of_fold: bool
    """Whether figures are out of fold, because there is no test dataset."""
    threshold: float
    judged: tuple[JudgedImage, ...]
    roc: Curve | None = None
    """Recall over the rate of false positives."""
    precision_recall: Curve | None = None
    reliability: Curve | None = None
    """Share of anomalous images over the probability, in equal parts."""
    own_features: bool = True
    """False for a user's own detector."""
    alignment_gain: float = 1.0
    aligned: bool = False
    tried: tuple[TriedViews, ...] = ()
    experts: tuple[TriedExpert, ...] = ()
    views: tuple[TriedView, ...] = ()
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class TrainingOutcome:
    """The result of a training, in addition to the artifact folder."""

    width: int
    height: int
    anomaly_types: tuple[tuple[str, str], ...]
    """(name, ``'#RRGGBB'``) without background; empty for a classification model."""
    f1: float | None
    """None if undefined, as precision is if nothing was called anomalous."""
    precision: float | None
    recall: float | None
    evaluated: tuple[EvaluatedImage, ...]
    evaluation: dict[str, Any]
    """Content of the EvaluationResult JSON file."""
    warnings: tuple[str, ...]
    findings: TrainingFindings | None = None
