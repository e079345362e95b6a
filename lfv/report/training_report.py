"""The report of a training: how good the model is, where it errs, and how it was trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from lfv.report.charts import Histogram, score_histogram
from lfv.report.figures import Shown, score, whole
from lfv.report.render import facts, render, write_page
from lfv.report.thumbnails import Thumbnail, make_thumbnail

REPORT_NAME = "report.html"
#: Images shown: the wrong verdicts first, then the least sure.
WORST = 12
_SIDE = 320


@dataclass(frozen=True)
class TrainedType:
    """An anomaly type of a segmentation model, and its figures on the images judged."""

    name: str
    color: str | None
    images: int | None = None
    f1: float | None = None
    precision: float | None = None
    recall: float | None = None
    iou: float | None = None


@dataclass(frozen=True)
class JudgedImage:
    """One image that was judged; `probability` is that of an anomaly. `read` returns its bytes."""

    name: str
    is_anomalous_truth: bool
    is_anomalous: bool
    confidence: float
    probability: float
    read: Callable[[], bytes] | None = None

    @property
    def correct(self) -> bool:
        """Whether verdict and label agree."""
        return self.is_anomalous == self.is_anomalous_truth


@dataclass(frozen=True)
class ReportCurve:
    """A curve in the unit square; with `markers`, its points are drawn."""

    title: str
    x_label: str
    y_label: str
    x: Sequence[float]
    y: Sequence[float]
    diagonal: bool = False
    markers: bool = False


@dataclass(frozen=True)
class ReportTable:
    """A table of what was tried; the first column names the row."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class TrainingReport:
    """All that the page shows.

    `out_of_fold`: each training image was judged by a model that had not seen it. `threshold` is
    the probability from which an image is called anomalous. `measures` are figures from 0 to 1,
    None where one is not defined. `options` are those that the training was given, in words.
    """

    project: str
    version: str
    width: int
    height: int
    normal: int
    anomalous: int
    threshold: float
    out_of_fold: bool
    tested: Sequence[JudgedImage]
    trained_at: datetime | None = None
    types: Sequence[TrainedType] = ()
    measures: Mapping[str, float | None] = field(default_factory=dict)
    curves: Sequence[ReportCurve] = ()
    warnings: Sequence[str] = ()
    remarks: Sequence[str] = ()
    tables: Sequence[ReportTable] = ()
    options: Sequence[str] = ()
    choices: str = "Choices of size, alignment and experts"

    @property
    def kind(self) -> str:
        """What kind of model was trained."""
        if not self.anomalous:
            return "one-class model (normal images only)"
        return "segmentation model" if self.types else "classification model"


@dataclass(frozen=True)
class _Worst:
    image: JudgedImage
    thumbnail: Thumbnail | None


@dataclass(frozen=True)
class _Drawn:
    curve: ReportCurve
    points: str
    dots: tuple[tuple[str, str], ...]


def write_training_report(report: TrainingReport, folder: Path) -> Path:
    """Write ``report.html`` into `folder`, and return its path. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / REPORT_NAME
    write_page(path, training_page(report))
    return path


def training_page(report: TrainingReport) -> str:
    """Return the HTML of `report`."""
    model = f"{report.project}, model version {report.version}"
    when = report.trained_at
    tested = report.tested
    wrong = [one for one in tested if not one.correct]
    return render(
        "training.html",
        title=f"Training of {model}, {when:%Y-%m-%d}" if when else f"Training of {model}",
        report=report,
        model=model,
        facts=_facts(report),
        measures=[(name, score(value)) for name, value in report.measures.items()],
        wrong=len(wrong),
        true_positive=sum(one.correct and one.is_anomalous for one in tested),
        true_negative=sum(one.correct and not one.is_anomalous for one in tested),
        false_positive=sum(one.is_anomalous for one in wrong),
        false_negative=sum(not one.is_anomalous for one in wrong),
        histogram=_histogram(report),
        curves=[_draw(curve) for curve in report.curves],
        worst=[_Worst(image, _thumbnail(image)) for image in _worst(tested)],
        reading=_reading_help(report),
    )


def _facts(report: TrainingReport) -> list[tuple[str, object]]:
    return facts(
        {
            "Kind": report.kind,
            "Image size": f"{report.width} × {report.height} pixels",
            "Trained on": Shown(
                f"{whole(report.normal)} normal and {whole(report.anomalous)} anomalous images"
            ),
            "Anomaly types": ", ".join(kind.name for kind in report.types),
            "Options": ", ".join(report.options),
        }
    )


def _histogram(report: TrainingReport) -> Histogram | None:
    probabilities = [(image.probability, image.is_anomalous_truth) for image in report.tested]
    return score_histogram(probabilities, report.threshold)


def _draw(curve: ReportCurve) -> _Drawn:
    """Draw a curve in a square of 240 units with the origin at (40, 250)."""
    points = [
        (f"{40 + 240 * x:.1f}", f"{250 - 240 * y:.1f}")
        for x, y in zip(curve.x, curve.y, strict=True)
    ]
    text = " ".join(f"{x},{y}" for x, y in points)
    return _Drawn(curve, text, tuple(points) if curve.markers else ())


def _worst(tested: Sequence[JudgedImage]) -> list[JudgedImage]:
    """Return wrong verdicts by falling confidence, then right ones by rising confidence."""
    ranked = sorted(
        tested, key=lambda one: (one.correct, one.confidence if one.correct else -one.confidence)
    )
    return ranked[:WORST]


def _thumbnail(image: JudgedImage) -> Thumbnail | None:
    if image.read is None:
        return None
    try:
        data = image.read()
    except OSError:
        return None
    return make_thumbnail(data, None, (), _SIDE)


def _reading_help(report: TrainingReport) -> str:
    limit = f"An image is called anomalous from a probability of {report.threshold:.2f}."
    if not report.anomalous:
        return (
            "The model has seen no anomalous image. Its confidence is how far an image is from "
            "the normal ones, relative to their differences from each other. How often it is "
            "right is unknown until anomalous images are tested. The figures above show how often "
            f"normal images that it had not seen were called anomalous. {limit}"
        )
    return (
        "Confidence is the probability that the verdict is right, for images like these. It does "
        "not cover products, lighting or defects that were not among them. "
        f"{report.choices} were made inside each fold of a cross-validation, with near-duplicates "
        f"kept in the same fold unless a warning says otherwise. {limit}"
    )
