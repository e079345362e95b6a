"""The end of a long run: `lfv inspect --resume` when all but the last thousand lines are done.

    python benchmarks/resume.py [--lines 100000]

This process starts, plans and records the run, and leaves it as a killed process does. Then the
command runs against a scripted endpoint. `benchmarks/capacity.py resume` does the same.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.detection import (
    FEW,
    PROJECT,
    endpoint_in,
    environment_of,
    figures,
    make_images,
    tell,
)
from lfv.client.manifests import manifest_digest, manifest_kind, read_manifest
from lfv.client.policy import Policy
from lfv.run.active import open_run
from lfv.run.context import InspectionRequest
from lfv.run.plan import plan_lines
from lfv.run.start import RunStarter, begin_run
from lfv.settings import Settings
from lfv_store import NewDetection, NewInspection, PendingItem, open_store

LEFT = 1_000
_BATCH = 500


def measure_resume(lines: int, folder: Path) -> dict[str, Any]:
    """Seconds from the command to the first request, and from the last answer to the prompt."""
    source, home = folder / "many", folder / "resumed"
    make_images(source, lines)
    make_images(folder / "few", FEW)
    script = {"seconds": 0.01, "schedule": [[0, 25]]}
    with endpoint_in(folder) as url:
        tell(url, script)
        # Prefect creates its database here, as it would have during the interrupted run.
        _lfv_inspect(url, home, str(folder / "few"), "--project", PROJECT)
        run_id = _leave_run(source, url, home)
        tell(url, script)
        began = time.time()
        _lfv_inspect(url, home, "--resume", run_id)
        end = time.time()
        asked = figures(url)
    assert asked["answered"] == LEFT, asked
    return {
        "lines": lines,
        "first request": round(asked["first_at"] - began, 1),
        "prompt after the last answer": round(end - asked["last_at"], 1),
    }


def _lfv_inspect(url: str, home: Path, *arguments: str) -> None:
    subprocess.run(
        [str(Path(sys.executable).with_name("lfv")), "inspect", *arguments],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment_of(url, home),
    )


def _leave_run(source: Path, url: str, home: Path) -> str:
    """The id of a run of which the last lines are pending."""
    os.environ.setdefault("AWS_ACCESS_KEY_ID", "x")
    os.environ.setdefault("AWS_SECRET_ACCESS_KEY", "x")
    settings = Settings(home=home, endpoint_url=url)
    with open_store(settings.store_url, migrate=True) as store:
        policy = Policy.from_confidence(0.8).to_dict()
        request = InspectionRequest(str(source), PROJECT, policy=policy)
        context = RunStarter(store, settings, url).proceed(begin_run(store, request))
        with open_run(context, store) as run:
            lines = list(read_manifest(str(source), run.reader))
            for first in range(0, len(lines), _BATCH):
                plan_lines(run, lines[first : first + _BATCH])
            for _ in range((len(lines) - LEFT) // _BATCH):
                items = store.inspections.pending(run.run_id, limit=_BATCH)
                records = [_judged(item, context.model_id) for item in items]
                store.inspections.record(run.run_id, records)
            kind = manifest_kind(str(source), run.reader)
            digest = manifest_digest(str(source), run.reader, kind=kind)
            store.runs.set_manifest(run.run_id, digest, len(lines))
    return context.run_id


def _judged(item: PendingItem, model_id: int) -> NewInspection:
    """The record of a line; one in fifty is rejected."""
    now = datetime.now(UTC)
    anomalous = item.line_number % 50 == 0
    response = {"Source": {"Type": "direct"}, "IsAnomalous": anomalous, "Confidence": 0.93}
    return NewInspection(
        line_number=item.line_number,
        source_ref=item.source_ref,
        inspected_at=now,
        image=item.image,
        detection=NewDetection(
            model_id, item.image.sha256, response, detected_at=now, latency_ms=10.0
        ),
        verdict="reject" if anomalous else "accept",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--lines", type=int, default=100_000)
    with tempfile.TemporaryDirectory() as folder:
        for name, value in measure_resume(parser.parse_args().lines, Path(folder)).items():
            print(f"{name:<32} {value}")


if __name__ == "__main__":
    main()
