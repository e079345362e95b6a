"""Values that cross the engine's seam. All frozen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lfv.formats.training_request import FALSE_ALARMS, MISS_COST

#: Called with the share of a training that is done, 0 to 1, and the current activity.
Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class TrainingImage:
    """One labelled image of a training or test dataset."""

    #: The image's reference in the manifest, used to name it in reports and errors.
    source_ref: str
    #: A local PNG or JPEG.
    path: Path
    is_anomalous: bool
    #: A PNG of any size and mode that paints anomalies in the colours of ``mask_colors``.
    mask_path: Path | None = None
    #: ``'#RRGGBB'`` to anomaly type, from the manifest's ``internal-color-map``.
    mask_colors: Mapping[str, str] = field(default_factory=dict)
    #: Samples of 16 bits that become black and white; found in training.
    sample_range: tuple[int, int] | None = None


@dataclass(frozen=True)
class TrainingOptions:
    """How to train. The defaults suit most data."""

    #: Source of all randomness: the same data, options and machine give the same model.
    seed: int = 20_200_720
    #: Threads for features and heads; the result does not depend on it.
    workers: int = 2
    #: An ONNX file, image to feature maps, to try in addition to the engine's features.
    backbone: Path | None = None
    #: Use the pretrained backbone, unless ``backbone`` names another.
    pretrained: bool = True
    #: Accepted false-alarm rate of models trained on normal images only.
    false_alarms: float = FALSE_ALARMS
    #: Cost of a missed defect in false alarms. Changes verdicts, not confidences.
    miss_cost: float = MISS_COST
    #: An ONNX file, image to anomaly score and map, to calibrate in place of training.
    detector: Path | None = None
    #: Largest size of such a file.
    onnx_bytes: int = 256 * 1024 * 1024
    #: Train a convolutional network too, which needs torch, and keep it if it helps.
    network: bool = False


@dataclass(frozen=True)
class EvaluatedImage:
    """The model's verdict on an image that it was not trained on."""

    source_ref: str
    is_anomalous_truth: bool
    is_anomalous: bool
    #: Confidence in ``is_anomalous``, 0 to 1.
    confidence: float
    #: Probability of anomaly, 0 to 1.
    probability: float
    #: Anomaly type to fraction of the image, 0 to 1; empty for classification models.
    areas: Mapping[str, float] = field(default_factory=dict)

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

    #: Normal images trained on.
    normal: int
    #: Anomalous images trained on.
    anomalous: int
    #: Whether figures are out of fold, because there is no test dataset.
    out_of_fold: bool
    threshold: float
    #: Recall over the rate of false positives.
    roc: Curve | None = None
    precision_recall: Curve | None = None
    #: Share of anomalous images over the probability, in equal parts.
    reliability: Curve | None = None
    #: False for a user's own detector.
    own_features: bool = True
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
    #: (name, ``'#RRGGBB'``) without background; empty for a classification model.
    anomaly_types: tuple[tuple[str, str], ...]
    #: F1, precision and recall are None if undefined: precision, if nothing was called anomalous.
    f1: float | None
    precision: float | None
    recall: float | None
    evaluated: tuple[EvaluatedImage, ...]
    #: Content of the EvaluationResult JSON file.
    evaluation: dict[str, Any]
    warnings: tuple[str, ...]
    findings: TrainingFindings | None = None
