"""Builds the training report, an HTML page, from the engine's findings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lfv.engine.seam import EvaluatedImage, TrainingFindings, TrainingOutcome
from lfv.formats.training_request import TrainingRequest
from lfv.report import (
    JudgedImage,
    ReportCurve,
    ReportTable,
    TrainedType,
    TrainingReport,
    write_training_report,
)

FOLDER = "report"


def write_report(job: Mapping[str, Any], outcome: TrainingOutcome) -> None:
    """Write the page into ``report/`` of the artifact folder, if the engine has findings.

    `job` is the trainer's job, `outcome` the engine's TrainingOutcome. Raises OSError.
    """
    if outcome.findings is not None:
        write_training_report(_report(job, outcome, outcome.findings), Path(job["output"]) / FOLDER)


def _report(
    job: Mapping[str, Any], outcome: TrainingOutcome, found: TrainingFindings
) -> TrainingReport:
    images = {image["source_ref"]: image for kind in ("train", "test") for image in job[kind]}
    return TrainingReport(
        project=job["project"],
        version=str(job["version"]),
        trained_at=datetime.now(UTC),
        width=outcome.width,
        height=outcome.height,
        normal=found.normal,
        anomalous=found.anomalous,
        threshold=found.threshold,
        out_of_fold=found.out_of_fold,
        tested=[_judged_image(images[one.source_ref], one) for one in outcome.evaluated],
        types=list(_types(outcome)),
        measures=dict(_measures(found, outcome)),
        curves=list(_curves(found)),
        warnings=outcome.warnings,
        remarks=list(_remarks(found)),
        tables=list(_tables(found)),
        options=_options(job),
        choices="Choices of size, alignment and experts"
        if found.own_features
        else "The calibrations behind these figures",
    )


def _options(job: Mapping[str, Any]) -> tuple[str, ...]:
    """The options with which the model was trained, of the request or of the service, in words."""
    files = {
        role: Path(path).stem.removeprefix(f"{role}-")
        for role, path in job.get("graphs", {}).items()
    }
    given = {**job.get("options", {}), **files, "fitted": job.get("fitted")}
    return TrainingRequest(**given).words()


def _judged_image(image: Mapping[str, Any], one: EvaluatedImage) -> JudgedImage:
    return JudgedImage(
        image["name"],
        one.is_anomalous_truth,
        one.is_anomalous,
        one.confidence,
        one.probability,
        Path(image["path"]).read_bytes,
    )


def _types(outcome: TrainingOutcome) -> Iterator[TrainedType]:
    rows = outcome.evaluation.get("LabelEvaluationResults", ())
    by_name = {row["Label"]: row for row in rows}
    for name, color in outcome.anomaly_types:
        row = by_name.get(name)
        if row is None:
            yield TrainedType(name, color)
            continue
        figures = row["Metrics"]
        yield TrainedType(
            name,
            color,
            row["NumberOfTestingImages"],
            figures["F1Score"],
            figures["Precision"],
            figures["Recall"],
            figures["IoU"],
        )


def _measures(
    found: TrainingFindings, outcome: TrainingOutcome
) -> Iterator[tuple[str, float | None]]:
    overall = outcome.evaluation["AggregatedEvaluationResults"]["Metrics"]
    details = outcome.evaluation.get("Details", {})
    called = any(image.is_anomalous for image in outcome.evaluated)
    there = any(image.is_anomalous_truth for image in outcome.evaluated)
    yield "F1 score", overall["F1Score"] if called or there else None
    yield "Precision", overall["Precision"] if called else None
    yield "Recall", overall["Recall"] if there else None
    yield "Area under ROC", overall.get("ROCAUC")
    yield "Average precision", overall.get("AveragePrecision")
    if found.anomalous:  # without anomalous images there were no probabilities to learn
        yield "Brier score (0 is best)", details.get("BrierScore")
        yield "Expected calibration error (0 is best)", details.get("ExpectedCalibrationError")


def _curves(found: TrainingFindings) -> Iterator[ReportCurve]:
    if found.roc is not None:
        yield ReportCurve(
            "ROC curve", "false positive rate", "recall", found.roc.x, found.roc.y, diagonal=True
        )
    if found.precision_recall is not None:
        curve = found.precision_recall
        yield ReportCurve("Precision and recall", "recall", "precision", curve.x, curve.y)
    if found.reliability is not None:
        curve = found.reliability
        yield ReportCurve(
            "Reliability",
            "predicted probability",
            "share of anomalous images",
            curve.x,
            curve.y,
            diagonal=True,
            markers=True,
        )


def _remarks(found: TrainingFindings) -> Iterator[str]:
    yield from found.remarks
    if found.own_features:
        used = "used" if found.aligned else "not used"
        yield (
            "Turning and shifting images so that parts lie alike lowers the deviation between "
            f"normal images {found.alignment_gain:.2f} times: {used}."
        )


def _tables(found: TrainingFindings) -> Iterator[ReportTable]:
    if found.tried:
        yield ReportTable(
            "Views",
            ("views", "area under ROC in cross-validation"),
            [(", ".join(trial.views), f"{trial.auroc:.3f}") for trial in found.tried],
        )
    if found.experts:
        yield ReportTable(
            "Experts",
            ("expert @ view", "area under ROC alone", "weight"),
            [
                (one.name, f"{one.auroc:.3f}", f"{one.weight:.2f}" if one.weight else "–")
                for one in found.experts
            ],
        )
    if found.views:
        yield ReportTable(
            "Working sizes",
            ("view", "size", "tiles"),
            [
                (
                    view.name,
                    f"{view.width} × {view.height}",
                    f"{view.tiles_across} × {view.tiles_down}",
                )
                for view in found.views
            ],
        )
