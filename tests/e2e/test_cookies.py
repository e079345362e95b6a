"""From real images to audited verdicts, by the commands a user types."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from lfv_store import open_store
from tests.support.prefect_server import with_tables
from tests.support.waiting import TRAINING

LFV = Path(sys.executable).with_name("lfv")


def lfv(home: Path, *arguments: str | Path) -> Any:
    """Return a command's JSON output; fail with its output if it failed."""
    done = subprocess.run(
        [LFV, *map(str, arguments), "--json"],
        env={**os.environ, "LFV_HOME": str(home), "PREFECT_HOME": str(home / "prefect")},
        capture_output=True,
        text=True,
        timeout=TRAINING,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def reduced(source: Path, folder: Path) -> Path:
    """A copy of the cookies at half size, with half of the training images. Training takes an
    eighth of the time; tests/engine checks the accuracy at full size."""
    for path in source.rglob("*.*"):
        target = folder / path.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".manifest":
            lines = path.read_text().splitlines(keepends=True)
            target.write_text("".join(lines[::2] if path.stem == "train" else lines))
            continue
        with Image.open(path) as image:  # a palette image is scaled without mixing its colours
            size = (image.width // 2, image.height // 2)
            resized = image.resize(size) if image.mode != "P" else image.resize(size, 0)
            resized.save(target)
    return folder


@pytest.mark.slow
def test_cookies_are_trained_on_inspected_and_recorded(sample_data: Path, tmp_path: Path) -> None:
    with_tables(tmp_path / "prefect")
    cookies = reduced(sample_data / "cookies", tmp_path / "cookies")
    # The pretrained backbone on real images is in tests/engine, and in the demo's test.
    train = ("train", cookies / "train.manifest", "--no-backbone")
    trained = lfv(tmp_path, *train, "--project", "cookies")
    assert trained["version"] == "1"
    summary = lfv(tmp_path, "inspect", cookies / "test.manifest", "--project", "cookies")
    assert summary["status"] == "completed"
    assert summary["counts"]["total"] == 22
    assert summary["counts"]["errors"] == summary["counts"]["pending"] == 0
    assert summary["evaluation"]["roc_auc"] >= 0.9
    assert Path(summary["report"]).is_file()
    figures = json.loads(Path(summary["report"]).with_name("EvaluationResult.json").read_text())
    metrics = figures["AggregatedEvaluationResults"]["Metrics"]
    assert metrics["ROCAUC"] == summary["evaluation"]["roc_auc"]

    again = lfv(tmp_path, "inspect", cookies / "test.manifest", "--project", "cookies")
    assert again["counts"]["reused"] == 22

    with open_store(f"sqlite:///{tmp_path / 'inspections.db'}") as store:
        rows = list(store.results.rows(summary["run_id"]))
        assert len(rows) == 22
        assert all(row["verdict"] and row["detected_at"] for row in rows)
        (hosting,) = store.hostings.list()  # the second run started nothing
        assert hosting.status == "stopped"
        assert store.audit.verify().ok
    (model,) = lfv(tmp_path, "models")
    assert model["status"] == "TRAINED"
