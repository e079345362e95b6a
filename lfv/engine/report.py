"""The training report: one HTML page with pictures, for the person who has to trust the model.

Everything from outside (file names, anomaly types) is escaped; the page loads nothing but the
PNG files beside it.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lfv.engine import metrics
from lfv.engine.dataset import Dataset, load
from lfv.engine.drawing import Line, chart, strip, thumbnail
from lfv.engine.ensemble import Ensemble, Trial
from lfv.engine.evaluation import Evaluated
from lfv.engine.types import TrainingImage
from lfv.engine.views import View

WORST = 8
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem;
       color: #222; }
h1, h2 { line-height: 1.2; } table { border-collapse: collapse; margin: 1rem 0; }
td, th { border: 1px solid #ccc; padding: .3rem .7rem; text-align: right; }
td:first-child, th:first-child { text-align: left; }
.warning { background: #fff4e0; border-left: .4rem solid #d98200; padding: .5rem 1rem;
           margin: .6rem 0; }
figure { display: inline-block; margin: .5rem; vertical-align: top; max-width: 16rem; }
figcaption { font-size: .8rem; overflow-wrap: anywhere; } img { max-width: 100%; }
"""


@dataclass(frozen=True)
class Findings:
    """All that the report tells."""

    data: Dataset
    images: Mapping[str, TrainingImage]
    evaluated: Sequence[Evaluated]
    evaluation: Mapping[str, Any]
    out_of_fold: bool
    threshold: float
    trials: Sequence[Trial]
    ensemble: Ensemble | None
    """None for a user's detector."""
    views: Mapping[str, View]
    alignment_gain: float
    aligned: bool
    warnings: Sequence[str]
    remarks: Sequence[str] = ()
    """What a user should know beside the warnings."""


def write_report(folder: Path, findings: Findings) -> None:
    """Write ``report.html`` and its pictures into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = [
        "<h1>Training report</h1>",
        _summary(findings),
        *_warnings(findings.warnings),
        _figures(findings),
        _curves(folder, findings),
        _mistakes(folder, findings),
        _tried(findings),
        _reading(findings),
    ]
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f"<title>Training report</title><style>{_STYLE}</style></head><body>"
        + "\n".join(parts)
        + "</body></html>\n"
    )
    (folder / "report.html").write_text(page, encoding="utf-8")


def _text(value: object) -> str:
    return html.escape(str(value), quote=True)


def _paragraph(text: str) -> str:
    return f"<p>{_text(text)}</p>"


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    cells = ["<tr>" + "".join(f"<th>{_text(cell)}</th>" for cell in head) + "</tr>"]
    cells += ["<tr>" + "".join(f"<td>{_text(c)}</td>" for c in row) + "</tr>" for row in rows]
    return "<table>" + "".join(cells) + "</table>"


def _summary(findings: Findings) -> str:
    data = findings.data
    anomalous = int(data.truth.sum())
    kind = "segmentation" if data.anomaly_types else "classification"
    if not anomalous:
        kind = "one-class (normal images only)"
    types = ", ".join(name for name, _ in data.anomaly_types)
    return _paragraph(
        f"A {kind} model for images of {data.width}x{data.height} pixels, trained on "
        f"{len(data.images) - anomalous} normal and {anomalous} anomalous images"
        + (f", with the anomaly types {types}." if types else ".")
    )


def _warnings(warnings: Sequence[str]) -> list[str]:
    if not warnings:
        return [_paragraph("Nothing odd was found in the images.")]
    return [f'<div class="warning">{_text(warning)}</div>' for warning in warnings]


def _figures(findings: Findings) -> str:
    result = findings.evaluation
    source = (
        "each training image, judged by a model that had not seen it"
        if findings.out_of_fold
        else "the test dataset"
    )
    overall = result["AggregatedEvaluationResults"]["Metrics"]
    details = result["Details"]
    called = any(e.image.is_anomalous for e in findings.evaluated)
    there = any(e.image.is_anomalous_truth for e in findings.evaluated)
    defined = {"F1Score": called or there, "Precision": called, "Recall": there}
    probabilities = ("BrierScore", "ExpectedCalibrationError") if _is_calibrated(findings) else ()
    rows = [
        *((name, f"{overall[name]:.3f}" if sure else "-") for name, sure in defined.items()),
        *(
            (name, f"{details[name]:.3f}")
            for name in ("AUROC", "AveragePrecision", *probabilities)
            if name in details
        ),
    ]
    wrong = sum(not e.image.correct for e in findings.evaluated)
    parts = [
        "<h2>How good it is</h2>",
        _paragraph(
            f"Measured on {len(findings.evaluated)} images: {source}. "
            f"{len(findings.evaluated) - wrong} verdicts were right, {wrong} wrong."
        ),
        _table(("", "value"), rows),
    ]
    labels = result["LabelEvaluationResults"]
    if labels:
        head = ("anomaly type", "images", "F1Score", "Precision", "Recall", "IoU")
        parts.append(
            _table(
                head,
                (
                    (
                        label["Label"],
                        label["NumberOfTestingImages"],
                        *(f"{label['Metrics'][name]:.3f}" for name in head[2:]),
                    )
                    for label in labels
                ),
            )
        )
    return "\n".join(parts)


def _curves(folder: Path, findings: Findings) -> str:
    truth = np.array([e.image.is_anomalous_truth for e in findings.evaluated], dtype=bool)
    probability = np.array([e.probability for e in findings.evaluated])
    pictures = {}
    classes = [("normal", probability[~truth]), ("anomalous", probability[truth])]
    pictures["scores.png"] = strip(
        "Every image's probability", [c for c in classes if len(c[1])], findings.threshold
    )
    if truth.any() and not truth.all():
        fpr, tpr = metrics.roc_curve(truth, probability)
        area = metrics.auroc(truth, probability)
        pictures["roc.png"] = chart(
            "ROC",
            "false positive rate",
            "recall",
            [Line(f"area {area:.3f}", fpr, tpr)],
            diagonal=True,
        )
        recall, precision = metrics.precision_recall_curve(truth, probability)
        mean = metrics.average_precision(truth, probability)
        pictures["precision-recall.png"] = chart(
            "Precision and recall",
            "recall",
            "precision",
            [Line(f"average precision {mean:.3f}", recall, precision)],
        )
        pictures["reliability.png"] = _reliability(truth, probability)
    for name, picture in pictures.items():
        picture.save(folder / name)
    shown = "".join(f'<img src="{name}" alt="{name}">' for name in pictures)
    return f"<h2>Curves</h2>{shown}"


def _reliability(truth: metrics.Bools, probability: metrics.Floats) -> Any:
    order = np.argsort(probability, kind="stable")
    parts = np.array_split(order, min(10, max(1, len(order) // 5)))
    said = np.array([probability[p].mean() for p in parts])
    was = np.array([truth[p].mean() for p in parts])
    return chart(
        "Reliability",
        "probability said",
        "share that was anomalous",
        [Line("images in equal parts", said, was, markers=True)],
        diagonal=True,
    )


def _mistakes(folder: Path, findings: Findings) -> str:
    """The wrong verdicts, surest first, and then the least sure right ones."""
    ranked = sorted(
        findings.evaluated,
        key=lambda e: (
            e.image.correct,
            e.image.confidence if e.image.correct else -e.image.confidence,
        ),
    )[:WORST]
    shown = []
    for number, one in enumerate(ranked):
        image = findings.images[one.image.source_ref]
        name = f"worst-{number + 1}.png"
        thumbnail(load(image, _fit(findings.data)).pixels, one.image.correct).save(folder / name)
        truth = "anomalous" if one.image.is_anomalous_truth else "normal"
        verdict = "anomalous" if one.image.is_anomalous else "normal"
        caption = (
            f"{one.image.source_ref}: labelled {truth}, called {verdict} with confidence "
            f"{one.image.confidence:.2f}"
        )
        shown.append(
            f'<figure><img src="{name}" alt=""><figcaption>{_text(caption)}</figcaption></figure>'
        )
    return (
        "<h2>Worst verdicts</h2>"
        + _paragraph("Wrong ones first (red), then those it was least sure of.")
        + "".join(shown)
    )


def _fit(data: Dataset) -> tuple[int, int]:
    scale = 240 / max(data.width, data.height)
    return max(1, round(data.width * scale)), max(1, round(data.height * scale))


def _tried(findings: Findings) -> str:
    parts = ["<h2>What was tried</h2>", *map(_paragraph, findings.remarks)]
    if findings.ensemble is None:
        return "\n".join(parts)
    aligned = "used" if findings.aligned else "not used"
    parts.append(
        _paragraph(
            "Turning and shifting images so that parts lie alike lowers the deviation between "
            f"normal images {findings.alignment_gain:.2f} times: {aligned}."
        )
    )
    if findings.trials:
        parts.append(
            _table(
                ("views", "AUROC in the cross-validation they were chosen by"),
                ((", ".join(t.views), f"{t.auroc:.3f}") for t in findings.trials),
            )
        )
        used = {
            f"{e.kind} @ {e.view}": w
            for e, w in zip(findings.ensemble.experts, findings.ensemble.weights, strict=True)
        }
        total = sum(used.values())
        parts.append(
            _table(
                ("expert @ view", "AUROC alone", "weight"),
                (
                    (name, f"{area:.3f}", f"{used[name] / total:.2f}" if name in used else "-")
                    for name, area in findings.trials[-1].experts.items()
                ),
            )
        )
    parts.append(
        _table(
            ("view", "working size", "tiles"),
            (
                (n, f"{v.width}x{v.height}", f"{v.tiles_across}x{v.tiles_down}")
                for n, v in findings.views.items()
            ),
        )
    )
    return "\n".join(parts)


def _is_calibrated(findings: Findings) -> bool:
    """Whether there were anomalous images to learn probabilities from."""
    return bool(findings.data.truth.any())


def _reading(findings: Findings) -> str:
    heading = "<h2>How to read this</h2>"
    limit = f"An image is called anomalous from a probability of {findings.threshold:.2f}."
    if not _is_calibrated(findings):
        return heading + _paragraph(
            "The model has seen no anomalous image. Its confidence tells how far an image is from "
            "the normal ones, in steps of what those differ among themselves; how often it is "
            "right nobody can know before anomalous images are tested. The figures above say how "
            f"often normal images that it had not seen were taken for anomalous. {limit}"
        )
    chosen = (
        "Choices of size, alignment and experts"
        if findings.ensemble is not None
        else "Calibrations for the figures out of fold"
    )
    return heading + _paragraph(
        "Confidence is the probability that the verdict is right, for images like these. It says "
        f"nothing of products, lighting or defects that were not among them. {chosen} were made "
        "inside each fold of a cross-validation in which images that nearly repeat each other sit "
        f"on the same side, unless a warning says otherwise. {limit}"
    )
