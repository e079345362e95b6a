"""`lfv demo` as a new user runs it: train, inspect, store, report, stop."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lfv.cli.demo import _own_settings
from lfv.cli.demo_results import image_results
from lfv_store import open_store

if TYPE_CHECKING:
    from lfv_store import Store
    from tests.cli.conftest import Lfv


@pytest.mark.slow
def test_the_demo_shows_a_whole_inspection(
    lfv_process: Lfv, lfv: Lfv, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "demo output"
    new = str(tmp_path / "new")  # Prefect creates its database, as for a new user
    outcome = lfv_process("demo", "--output", folder, "--json", PREFECT_HOME=new)
    assert outcome.status == 0, outcome.err
    shown = outcome.json()

    counts = shown["run"]["counts"]
    assert (counts["total"], counts["errors"], counts["pending"]) == (24, 1, 0)
    assert shown["model"]["f1"] > 0.8
    assert Path(shown["model"]["report"]).is_file()
    report = Path(shown["run"]["report"])
    assert "demo-flange" in report.read_text(encoding="utf-8")

    results = shown["results"]
    assert [one["line_number"] for one in results] == list(range(1, 25))
    assert results[-1]["verdict"] == "error"
    assert results[-1]["error"].startswith("image_truncated")
    wrong = [
        one
        for one in results
        if (one["label"], one["verdict"]) in {("anomaly", "accept"), ("normal", "reject")}
    ]
    assert len(wrong) <= 3
    assert Path(folder / "latest" / "report.html").is_file()

    monkeypatch.setenv("LFV_HOME", str(folder))
    (model,) = lfv_process("models", "--json", LFV_HOME=str(folder)).json()
    assert (model["version"], model["status"]) == ("1", "TRAINED")
    assert lfv("show", "last", "--json").json()["errors_by_code"] == {"image_truncated": 1}
    assert lfv("audit", "verify").status == 0
    with open_store(f"sqlite:///{folder / 'inspections.db'}") as store:
        line = store.results.line(shown["run"]["run_id"], 1)
        (training,) = store.trainings.of_model(line["model_id"])
    assert training.images["train"]["images"] > 0
    assert training.figures["f1"] == pytest.approx(shown["model"]["f1"])
    assert training.manifest_sha256 is not None
    assert lfv("export", "last", "-f", "jsonl").out.count("\n") == 24


def test_the_demo_writes_only_into_its_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LFV_DATABASE_URL", "postgresql://production/lfv")
    monkeypatch.setenv("LFV_ENDPOINT_URL", "https://vision.example")
    monkeypatch.setenv("LFV_BUCKETS", f"lfv={os.sep}data")
    settings = _own_settings(tmp_path / "demo")
    assert settings.store_url == f"sqlite:///{tmp_path}/demo/inspections.db"
    assert settings.endpoint_url is None
    assert settings.bucket_folders == {"lfv": tmp_path / "demo" / "buckets" / "lfv"}


def test_there_is_one_result_per_line(store: Store, run: str) -> None:
    results = image_results(store, run)
    assert [one.verdict for one in results] == ["accept", "reject", "review", "error"]
    assert results[1].anomalies == "scratch 2.00%"
    assert results[1].answer == "anomaly 0.930"
    assert results[3].label == ""
    assert results[3].error == "image_truncated: The end of the image is missing."
