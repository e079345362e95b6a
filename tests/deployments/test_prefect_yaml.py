"""deployments/prefect.yaml, deployed to a real server and run by a real worker."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lfv_store import open_store
from tests.support.endpoints import endpoint_in_process
from tests.support.pictures import make_pictures
from tests.support.prefect_server import PrefectServer, prefect_server
from tests.support.waiting import PLENTY

PREFECT = Path(sys.executable).with_name("prefect")
LFV = Path(sys.executable).with_name("lfv")
ROOT = Path(__file__).parents[2]
POOL = "inspection"
FILE = "deployments/prefect.yaml"


def prefect(server: PrefectServer, *arguments: str, seconds: float = 120) -> str:
    """Output of a `prefect` command; fails with its words when it failed."""
    done = subprocess.run(
        [PREFECT, *arguments],
        env={**os.environ, **server.environment},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def api(server: PrefectServer, path: str) -> Any:
    with urllib.request.urlopen(f"{server.api_url}/{path}", timeout=PLENTY) as answer:
        return json.load(answer)


def delete(server: PrefectServer, path: str) -> None:
    request = urllib.request.Request(f"{server.api_url}/{path}", method="DELETE")
    urllib.request.urlopen(request, timeout=PLENTY).close()


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    with prefect_server(tmp_path_factory.mktemp("prefect")) as server:
        prefect(server, "work-pool", "create", "--type", "process", POOL)
        prefect(server, "--no-prompt", "deploy", "--all", "--prefect-file", FILE)
        yield server


def test_the_schedule_has_its_time_zone_and_the_form_its_descriptions(
    deployed: PrefectServer,
) -> None:
    scheduled = api(deployed, "deployments/name/inspect-images/scheduled")
    (schedule,) = scheduled["schedules"]
    assert schedule["schedule"]["cron"] == "0 6 * * 1-5"
    assert schedule["schedule"]["timezone"] == "Europe/Berlin"
    operator = api(deployed, "deployments/name/inspect-images/operator")
    assert operator["schedules"] == []
    assert operator["enforce_parameter_schema"]
    fields = operator["parameter_openapi_schema"]["properties"]
    assert all(field["description"] for field in fields.values())
    assert set(operator["parameter_openapi_schema"]["required"]) == {"source", "project"}
    sweeper = api(deployed, "deployments/name/stop-idle-models/every-five-minutes")
    assert sweeper["schedules"][0]["schedule"]["cron"] == "*/5 * * * *"
    assert api(deployed, "deployments/name/resume-inspection/resume")
    assert scheduled["parameters"]["new_only"] is True
    assert api(deployed, "deployments/name/prune/housekeeping")["parameters"]["dry_run"] is True


def test_watching_starts_the_deployment_when_images_are_there(
    deployed: PrefectServer, tmp_path: Path
) -> None:
    def watch() -> str:
        done = subprocess.run(
            [LFV, "watch", "incoming", "--once", "--settle-seconds", "0", "--project", "parts"],
            env={**os.environ, **deployed.environment, "LFV_HOME": str(tmp_path / "home")},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=PLENTY,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    (tmp_path / "incoming").mkdir()
    assert watch() == ""
    make_pictures(tmp_path / "incoming", 3)
    said = watch()
    assert said.startswith("3 images came: started flow run ")
    started = api(deployed, f"flow_runs/{said.split()[-1]}")
    assert started["parameters"]["source"] == str(tmp_path / "incoming")
    assert started["parameters"]["new_only"] is True
    assert started["parameters"]["project"] == "parts"
    assert started["parameters"]["triggered_by"].startswith("lfv watch")
    delete(deployed, f"flow_runs/{started['id']}")  # no worker is to take it


@pytest.mark.slow
def test_an_operator_s_run_goes_through_a_process_worker(
    deployed: PrefectServer, tmp_path: Path
) -> None:
    make_pictures(tmp_path / "images", 10)
    with endpoint_in_process(tmp_path) as endpoint:
        environment = {
            **os.environ,
            **deployed.environment,
            "LFV_HOME": str(tmp_path / "home"),
            "LFV_ENDPOINT_URL": endpoint.url,
            "PREFECT_WORKER_QUERY_SECONDS": "1",
        }
        worker = subprocess.Popen(
            [PREFECT, "worker", "start", "--pool", POOL, "--work-queue", "default"],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            told = prefect(
                deployed,
                "deployment",
                "run",
                "inspect-images/operator",
                "--watch",
                "--param",
                f"source={tmp_path / 'images'}",
                "--param",
                "project=parts",
                seconds=180,
            )
            scheduled = ["--param", f"source={tmp_path / 'images'}", "--param", "project=parts"]
            scheduled += ["--param", "confidence=0.5", "--param", "settle_seconds=0"]
            for more in (0, 3):  # nothing but known images, then three that came meanwhile
                make_pictures(tmp_path / "images", more, first=100)
                run_scheduled = ["deployment", "run", "inspect-images/scheduled", "--watch"]
                told += prefect(deployed, *run_scheduled, *scheduled, seconds=180)
        finally:
            # The sweeper's schedule may just have given it a flow run of its own.
            os.killpg(worker.pid, signal.SIGKILL)
            worker.wait(PLENTY)
        assert told.count("Completed") >= 3
        assert endpoint.status == "TRAINED"
        assert set(endpoint.asked().values()) == {1}
    with open_store(f"sqlite:///{tmp_path / 'home' / 'inspections.db'}") as store:
        second, first, run = store.runs.list()
        assert run.triggered_by == "deployment operator"
        assert run.flow_run_id is not None
        assert store.inspections.counts(run.run_id).accepted > 0
        counts = [store.inspections.counts(one.run_id) for one in (first, second)]
        assert [(one.total, one.reused) for one in counts] == [(10, 10), (3, 0)]
