"""A store with a run in it, and the `lfv` command called in this process."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from lfv.cli.app import run as run_lfv
from lfv.settings import Settings, get_settings
from lfv_store import (
    ImageFacts,
    ModelKey,
    NewDetection,
    NewInspection,
    NewRun,
    Store,
    open_store,
)
from tests.support.databases import fresh_sqlite
from tests.support.prefect_server import with_tables
from tests.support.waiting import TRAINING

STARTED = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
RUN_ID = "0b6f6a6e-8d1f-4f53-a9d4-6f0f5a1e5a10"
POLICY = {"version": 1, "default": {"classification": {"min_confidence": 0.8}}}


@dataclass(frozen=True)
class Outcome:
    """The outcome of a command."""

    status: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


Lfv = Callable[..., Outcome]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty LFV_HOME, without other settings."""
    for name in Settings.model_fields:
        monkeypatch.delenv(f"LFV_{name.upper()}", raising=False)
    home = tmp_path / "home"
    monkeypatch.setenv("LFV_HOME", str(home))
    return home


@pytest.fixture
def lfv(capfd: pytest.CaptureFixture[str]) -> Lfv:
    """Run `lfv` with these arguments, in this process."""

    def call(*arguments: object) -> Outcome:
        capfd.readouterr()
        status = run_lfv([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        return Outcome(int(status), out, err)

    return call


@pytest.fixture
def lfv_process(home: Path, tmp_path: Path) -> Lfv:
    """Run `lfv` with these arguments in a separate process with its own environment."""
    prefect = with_tables(tmp_path / "prefect")
    script = Path(sys.executable).with_name("lfv")
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(home), "LFV_HOME": str(home)}
    environment["PREFECT_HOME"] = str(prefect)
    if "PYTHONPATH" in os.environ:  # the tree under test may not be the installed one
        environment["PYTHONPATH"] = os.environ["PYTHONPATH"]

    def call(*arguments: object, **variables: str) -> Outcome:
        done = subprocess.run(
            [str(script), *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=TRAINING,
            check=False,
            env=environment | variables,
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    return call


@pytest.fixture
def settings(home: Path) -> Settings:
    return get_settings(home=home)


@pytest.fixture
def store(settings: Settings) -> Any:
    settings.home.mkdir(parents=True)
    assert fresh_sqlite(settings.home / "inspections.db") == settings.store_url
    with open_store(settings.store_url) as opened:
        yield opened


def response(*, is_anomalous: bool, confidence: float, scratch: float = 0.0) -> dict[str, Any]:
    """A DetectAnomalyResult in the form of the API."""
    anomalies = [{"Name": "background", "PixelAnomaly": _area(1.0 - scratch, "#FFFFFF")}]
    if scratch:
        anomalies.append({"Name": "scratch", "PixelAnomaly": _area(scratch, "#1F77B4")})
    return {
        "Source": {"Type": "direct"},
        "IsAnomalous": is_anomalous,
        "Confidence": confidence,
        "Anomalies": anomalies,
    }


def _area(fraction: float, color: str) -> dict[str, Any]:
    return {"TotalPercentageArea": fraction, "Color": color}


def begin_run(store: Store, run_id: str, started_at: datetime = STARTED) -> int:
    """Start a run; return the id of its model."""
    model_id = store.models.register(
        ModelKey("lookoutvision", "arn:aws:lookoutvision:x:0:model/flange/1", "flange", "1")
    )
    store.runs.start(
        NewRun(
            run_id=run_id,
            project_name="flange",
            model_version="1",
            host="lookoutvision",
            source="/data/lot-41.manifest",
            policy=POLICY,
            started_at=started_at,
            model_id=model_id,
            triggered_by="ana",
        )
    )
    return model_id


def judged(
    model_id: int, line: int, verdict: str, *, anomalous: bool, confidence: float, **more: Any
) -> NewInspection:
    """A line with its answer and verdict."""
    digest = hashlib.sha256(f"image {line}".encode()).hexdigest()
    at = STARTED + timedelta(seconds=line)
    return NewInspection(
        line_number=line,
        source_ref=f"/data/images/part-{line}.jpg",
        inspected_at=at,
        image=ImageFacts(digest, "jpeg", 320, 240, 25_000 + line),
        detection=NewDetection(
            model_id,
            digest,
            response(
                is_anomalous=anomalous, confidence=confidence, scratch=0.02 if anomalous else 0.0
            ),
            detected_at=at,
            request_id=f"request-{line}",
            latency_ms=12.5,
        ),
        verdict=verdict,  # type: ignore[arg-type]
        reasons=[{"rule": "classification", "text": f"Because of {confidence}.", "figures": {}}],
        attributes={"serial": f"FL-{line}", "lot": 41},
        expected_is_anomalous=anomalous,
        **more,
    )


@pytest.fixture
def run(store: Store) -> str:
    """The id of a completed run: one line each accepted, rejected, to review and failed."""
    model_id = begin_run(store, RUN_ID)
    store.inspections.record(
        RUN_ID,
        [
            judged(model_id, 1, "accept", anomalous=False, confidence=0.97),
            judged(model_id, 2, "reject", anomalous=True, confidence=0.93),
            judged(model_id, 3, "review", anomalous=True, confidence=0.61),
            NewInspection(
                line_number=4,
                source_ref="/data/images/=cmd|'/C calc'!A0\x1b[31m.jpg",
                inspected_at=STARTED + timedelta(seconds=4),
                error_code="image_truncated",
                error_message="The end of the image is missing.",
                attributes={"serial": "FL-4", "lot": 41},
            ),
        ],
    )
    store.runs.set_manifest(RUN_ID, "ab" * 32, 4)
    store.runs.set_status(RUN_ID, "completed", None, STARTED + timedelta(minutes=1))
    return RUN_ID
