"""Time from trigger to first answer on a plant of `lfv up`, in total and by step.

    python benchmarks/trigger.py [--rounds 5] [--home FOLDER --project NAME --images FOLDER]

Starts a plant, with the demo's model or an existing one. Triggers the deployment `operator` through
Prefect's API like the page, and reads the times from Prefect's states and the results database. The
figures go to benchmarks/capacity-results.json.
"""

from __future__ import annotations

import argparse
import json
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.capacity import LFV, RESULTS, demo_home, environment, machine, show
from lfv_store import Store, open_store

IMAGES = 10
_LONGEST = 300.0


@contextmanager
def plant(home: Path, port: int) -> Iterator[str]:
    """The address of the API of a plant in `home`."""
    settings = environment(home)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        ui_port = str(probe.getsockname()[1])
    subprocess.run(
        [str(LFV), "up", "--port", str(port), "--ui-port", ui_port],
        check=True,
        env=settings,
        stdout=subprocess.DEVNULL,
    )
    try:
        yield f"http://127.0.0.1:{port}/api"
    finally:
        subprocess.run([str(LFV), "down"], check=True, env=settings, stdout=subprocess.DEVNULL)


def call(address: str, body: Mapping[str, Any] | None = None) -> Any:
    """GET an address of this machine, or POST `body` to it; again while the server is busy."""
    with httpx.Client(timeout=60, trust_env=False) as client:
        while True:
            answer = client.get(address) if body is None else client.post(address, json=body)
            if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                return answer.raise_for_status().json()


def measure(api: str, store: Store, pictures: Path, project: str) -> dict[str, float]:
    """Seconds since the trigger at which each step of one run began or ended."""
    deployment = call(f"{api}/deployments/name/inspect-images/operator")["id"]
    parameters = {"source": str(pictures), "project": project, "again": True}
    triggered = datetime.now(UTC)
    flow_run = call(
        f"{api}/deployments/{deployment}/create_flow_run",
        {"parameters": parameters, "state": {"type": "SCHEDULED"}},
    )["id"]
    deadline = time.monotonic() + _LONGEST
    while (ended := call(f"{api}/flow_runs/{flow_run}")["state_type"]) not in {
        "COMPLETED",
        "FAILED",
        "CRASHED",
    }:
        if time.monotonic() > deadline:
            raise TimeoutError(f"flow run {flow_run} is still {ended}")
        time.sleep(0.5)
    if ended != "COMPLETED":
        raise RuntimeError(f"flow run {flow_run} is {ended}")
    states = call(f"{api}/flow_run_states/?flow_run_id={flow_run}")
    since = {one["type"]: datetime.fromisoformat(one["timestamp"]) for one in reversed(states)}
    run = next(one for one in store.runs.list() if one.flow_run_id == flow_run)
    (hosting,) = store.hostings.of_run(run.run_id)
    answers = [row["detected_at"] for row in store.results.rows(run.run_id) if row["detected_at"]]
    assert hosting.hosted_at is not None
    moments = {
        "a worker takes the flow run": since["PENDING"],
        "its process starts the flow": since["RUNNING"],
        "the run is recorded": run.started_at,
        "StartModel is called": hosting.requested_at,
        "the model is hosted": hosting.hosted_at,
        "first image judged": min(answers),
        "the flow run is completed": since["COMPLETED"],
    }
    return {name: round((at - triggered).total_seconds(), 2) for name, at in moments.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--home", type=Path, help="LFV_HOME with a model, else a new one")
    parser.add_argument("--project", default="demo-flange", help="project of the model")
    parser.add_argument("--images", type=Path, help="images to inspect, else those of the demo")
    given = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        home = given.home or demo_home(Path(folder))
        pictures = Path(folder) / "ten"
        pictures.mkdir()
        images = given.images or home / "images" / "inspect" / "images"
        for path in sorted(images.iterdir())[:IMAGES]:
            shutil.copy(path, pictures)
        with (
            plant(home, port) as api,
            open_store(f"sqlite:///{home / 'inspections.db'}") as store,
        ):
            rounds = []
            for number in range(given.rounds + 1):
                one = measure(api, store, pictures, given.project)
                print(json.dumps(one), flush=True)
                if number:  # the first compiles and fills caches
                    rounds.append(one)
    found: dict[str, Any] = {
        name: round(statistics.median(one[name] for one in rounds), 2) for name in rounds[0]
    }
    found["worst first image"] = round(max(one["first image judged"] for one in rounds), 2)
    show("trigger", found)
    report = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    took = round(time.monotonic() - began)
    report["trigger"] = {"machine": machine(), "took_seconds": took, "figures": found}
    RESULTS.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
