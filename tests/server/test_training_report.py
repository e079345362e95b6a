"""The training report, from the findings of an engine."""

from __future__ import annotations

from pathlib import Path

from lfv.engine.seam import Curve, EvaluatedImage, TrainingFindings, TrainingOutcome
from lfv.server.jobs.training_report import FOLDER, write_report
from tests.support.report_samples import Page, picture

METRICS = {
    "F1Score": 0.8,
    "Precision": 0.7,
    "Recall": 0.9,
    "ROCAUC": 0.963,
    "AveragePrecision": 0.942,
}


def outcome(*, anomalous: int = 4, details: dict[str, float] | None = None) -> TrainingOutcome:
    truths = (True, False) if anomalous else (False, False)
    return TrainingOutcome(
        width=320,
        height=240,
        anomaly_types=(),
        f1=0.8,
        precision=0.7,
        recall=0.9,
        evaluated=tuple(
            EvaluatedImage(f"s3://lfv/{number}.jpg", truth, truth, 0.9, 0.9 if truth else 0.1)
            for number, truth in enumerate(truths)
        ),
        evaluation={
            "AggregatedEvaluationResults": {"Metrics": METRICS},
            "Details": details or {},
        },
        warnings=("Few images.",),
        findings=TrainingFindings(
            normal=6,
            anomalous=anomalous,
            out_of_fold=True,
            threshold=0.5,
            roc=Curve((0.0, 1.0), (0.0, 1.0)),
        ),
    )


def written(folder: Path, found: TrainingOutcome) -> str:
    images = []
    for number in range(2):
        path = folder / f"{number}.jpg"
        path.write_bytes(picture())
        images.append(
            {"source_ref": f"s3://lfv/{number}.jpg", "name": f"mine-{number}.jpg", "path": path}
        )
    job = {"project": "parts", "version": 3, "output": str(folder), "train": images, "test": []}
    job |= {"options": {"miss_cost": 4.0, "pretrained": False}, "fitted": "cropped to 320x240"}
    job |= {"graphs": {"detector": f"/graphs/detector-{'1f' * 32}.onnx"}}
    write_report(job, found)
    return Page((folder / FOLDER / "report.html").read_text(encoding="utf-8")).text


def test_every_figure_of_the_evaluation_is_on_the_page(tmp_path: Path) -> None:
    figures = {"BrierScore": 0.041, "ExpectedCalibrationError": 0.032}
    text = written(tmp_path, outcome(details=figures))
    for expected in (
        "Training of parts, model version 3",
        "F1 score 0.800",
        "Precision 0.700",
        "Recall 0.900",
        "Area under ROC 0.963",
        "Average precision 0.942",
        "Brier score (0 is best) 0.041",
        "Expected calibration error (0 is best) 0.032",
        "ROC curve",
        "mine-0.jpg",
        "Few images.",
        "a missed defect costs 4 false alarms, without the pretrained backbone",
        "detector 1f1f1f1f1f1f, other sizes cropped to 320x240",
    ):
        assert expected in text, expected
    assert "s3://lfv" not in text


def test_an_undefined_figure_is_a_dash(tmp_path: Path) -> None:
    text = written(tmp_path, outcome(anomalous=0))
    assert "Precision –" in text
    assert "Recall –" in text
    assert "Brier" not in text
