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
    sample_range: tuple[int, int] | None = None
    """Samples of 16 bits that become black and white; found in training."""


@dataclass(frozen=True)
class TrainingOptions:
    """How to train. The defaults are meant to be right."""

    seed: int = 20_200_720
    """Everything random derives from it: same data, same options, same machine, same model."""
    workers: int = 2
    """Threads for features and heads; the result does not depend on it."""
    backbone: Path | None = None
    """An ONNX file, image to feature maps, to try beside our own features."""
    pretrained: bool = True
    """Use the pretrained backbone, unless ``backbone`` names another."""
    false_alarms: float = 0.02
    """Share of normal images that a model of normal images alone may call anomalous, 0 to 0.5."""
    miss_cost: float = 1.0
    """How many false alarms a missed defect is worth; moves the verdict, not the confidence."""
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
class Curve:
    """Points of a curve in the unit square."""

    x: tuple[float, ...]
    y: tuple[float, ...]


@dataclass(frozen=True)
class JudgedImage:
    """One verdict of the evaluation, with the probability of anomaly that it follows from."""

    source_ref: str
    is_anomalous_truth: bool
    is_anomalous: bool
    confidence: float
    probability: float


@dataclass(frozen=True)
class TriedViews:
    """Views of the images that were tried together, and their AUROC in cross-validation."""

    views: tuple[str, ...]
    auroc: float


@dataclass(frozen=True)
class TriedExpert:
    """An expert on one view, its AUROC alone, and its weight among all; 0: not used."""

    name: str
    auroc: float
    weight: float


@dataclass(frozen=True)
class TriedView:
    """A view that the model uses: its size in pixels, and its tiles."""

    name: str
    width: int
    height: int
    tiles_across: int
    tiles_down: int


@dataclass(frozen=True)
class TrainingFindings:
    """What a training found out, for a page that people read; all values are plain."""

    normal: int
    anomalous: int
    """Images trained on."""
    out_of_fold: bool
    """Whether each image was judged by a model that had not seen it, for want of a test dataset."""
    threshold: float
    judged: tuple[JudgedImage, ...]
    roc: Curve | None = None
    """Recall over the rate of false positives."""
    precision_recall: Curve | None = None
    reliability: Curve | None = None
    """Share that was anomalous over the probability, in equal parts."""
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
    """What a training produced, beside the artifact folder."""

    width: int
    height: int
    anomaly_types: tuple[tuple[str, str], ...]
    """(name, ``'#RRGGBB'``) without background; empty for a classification model."""
    f1: float | None
    """None where a figure is undefined, as precision is where nothing was called anomalous."""
    precision: float | None
    recall: float | None
    evaluated: tuple[EvaluatedImage, ...]
    evaluation: dict[str, Any]
    """Content of the EvaluationResult JSON file."""
    warnings: tuple[str, ...]
    findings: TrainingFindings | None = None
