"""The HTML report of a training."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lfv.report import (
    JudgedImage,
    ReportCurve,
    ReportTable,
    TrainedType,
    TrainingReport,
    write_training_report,
)
from lfv.report.charts import score_histogram
from tests.support.report_samples import Page, picture

HOSTILE = '"><script>alert(1)</script>\u202egpj.exe'


def judged(number: int, *, truth: bool, probability: float) -> JudgedImage:
    called = probability >= 0.5
    return JudgedImage(
        f"lot-41/IMG_{number:04d}.jpg",
        truth,
        called,
        probability if called else 1 - probability,
        probability,
        picture,
    )


@pytest.fixture
def training() -> TrainingReport:
    return TrainingReport(
        project="flange",
        version="3",
        width=640,
        height=480,
        normal=30,
        anomalous=12,
        threshold=0.5,
        out_of_fold=True,
        trained_at=datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC),
        tested=[
            *(judged(number, truth=False, probability=number / 100) for number in range(30)),
            *(
                judged(30 + number, truth=True, probability=0.6 + number / 40)
                for number in range(10)
            ),
            judged(41, truth=True, probability=0.1),
            judged(42, truth=False, probability=0.93),
        ],
        types=[TrainedType("scratch", "#1F77B4", 8, 0.9, 0.95, 0.85, 0.61)],
        measures={"F1 score": 0.909, "Precision": 0.909, "Recall": None},
        curves=[
            ReportCurve("ROC curve", "false positive rate", "recall", [0, 0.1, 1], [0, 0.9, 1])
        ],
        warnings=["30 normal and 12 anomalous images are few."],
        remarks=["Turning images did not help."],
        tables=[ReportTable("Views", ("views", "area under ROC"), [("overview", "0.981")])],
    )


def render(report: TrainingReport, folder: Path) -> Page:
    return Page(write_training_report(report, folder).read_text(encoding="utf-8"))


def test_the_page_has_every_finding(training: TrainingReport, tmp_path: Path) -> None:
    page = render(training, tmp_path)
    for expected in (
        "Training of flange, model version 3, 2026-03-04",
        "segmentation model",
        "30 normal and 12 anomalous images are few.",
        "40 verdicts were right, 2 wrong",
        "F1 score 0.909",
        "Recall –",
        "Confusion matrix",
        "labelled anomaly 10 1",
        "labelled normal 1 30",
        "scratch 8 0.900 0.950 0.850 0.610",
        "false positive rate",
        "overview 0.981",
        "Turning images did not help.",
        "from a probability of 0.50",
    ):
        assert expected in page.text, expected
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_the_worst_verdicts_come_first_by_name(training: TrainingReport, tmp_path: Path) -> None:
    images = [str(image["alt"]) for image in render(training, tmp_path).all("img")]
    assert images[:2] == ["lot-41/IMG_0042.jpg", "lot-41/IMG_0041.jpg"]
    assert len(images) == 12


def test_words_replace_the_names_of_the_api(training: TrainingReport, tmp_path: Path) -> None:
    text = render(training, tmp_path).text
    for name in ("F1Score", "AUROC", "BrierScore", "AveragePrecision"):
        assert name not in text


def test_without_anomalous_images_the_page_claims_nothing(
    training: TrainingReport, tmp_path: Path
) -> None:
    normal = [one for one in training.tested if not one.is_anomalous_truth]
    text = render(
        replace(training, anomalous=0, types=(), curves=(), warnings=(), tested=normal), tmp_path
    ).text
    assert "one-class model" in text
    assert "The model has seen no anomalous image." in text
    assert "probability that the verdict is right" not in text
    assert "No warnings" in text


def test_hostile_names_are_only_ever_text(training: TrainingReport, tmp_path: Path) -> None:
    hostile = replace(
        training,
        project=HOSTILE,
        tested=[replace(training.tested[-1], name=HOSTILE)],
        types=[TrainedType(HOSTILE, "red;x:url(//evil)", None)],
        warnings=[HOSTILE],
        remarks=[HOSTILE],
        tables=[ReportTable(HOSTILE, (HOSTILE,), [(HOSTILE,)])],
    )
    page = render(hostile, tmp_path)
    assert len(list(page.all("script"))) == 1
    assert "\u202e" not in page.text
    assert not [attributes for _, attributes in page.tags if "url(" in str(attributes.get("style"))]


def test_a_missing_image_only_lacks_its_picture(training: TrainingReport, tmp_path: Path) -> None:
    def gone() -> bytes:
        raise FileNotFoundError

    page = render(replace(training, tested=[replace(training.tested[0], read=gone)]), tmp_path)
    assert "no picture" in page.text


def test_probabilities_are_counted_by_label() -> None:
    chart = score_histogram([(0.0, False), (0.99, True), (1.0, True), (0.51, False)], 0.5)
    assert chart is not None
    assert [bar.images for bar in chart.bars if bar.images] == [1, 1, 2]
    assert [line.left for line in chart.limits] == [0.5]
    assert [bar.is_anomalous for bar in chart.bars] == [False] * 20 + [True] * 20
    assert score_histogram([], 0.5) is None
