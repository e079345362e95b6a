"""`lfv up` keeps a plant running: killed processes are restarted, and `lfv down` ends all."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from flows.run_slots import RUNS_PER_MODEL
from lfv.cli.app import run as run_lfv
from lfv.cli.common import check_local_project
from lfv.cli.deploy import installed_file
from lfv.cli.errors import CommandError
from lfv.cli.plant.schedule import EndedRun
from lfv.cli.plant.services import Plant, Schedule, own_deployments, systemd_unit
from lfv.cli.plant.status import PlantStatus
from lfv.cli.plant.supervisor import Service, ServiceState, SupervisedService
from lfv.settings import get_settings
from tests.support.processes import free_port, kill, with_environment
from tests.support.waiting import PLENTY, wait_gone, wait_until


def service(*command: str, restart_after: float | None = None) -> Service:
    return Service("one", [sys.executable, *command], dict(os.environ), restart_after)


def test_a_service_that_ends_is_started_again_after_a_pause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    clock = SimpleNamespace(monotonic=lambda: now)
    monkeypatch.setattr("lfv.cli.plant.supervisor.time", clock)
    one = SupervisedService(service("-c", "raise SystemExit(3)"), tmp_path)
    assert one.poll()
    wait_until(one.poll)  # it has ended
    assert one.state.pid is None
    assert not one.poll()  # the pause
    now += 1.0
    assert one.poll()
    assert one.state.starts == 2
    one.wait(PLENTY)


def test_a_service_with_a_schedule_is_restarted_when_due(tmp_path: Path) -> None:
    one = SupervisedService(service("-c", "pass", restart_after=0.05), tmp_path)
    wait_until(lambda: one.poll() and one.state.starts == 3)
    one.wait(PLENTY)


def test_a_service_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    ignore = "import signal, time; signal.signal(15, signal.SIG_IGN); print(1, flush=True)"
    one = SupervisedService(service("-c", f"{ignore}; time.sleep(600)"), tmp_path)
    one.poll()
    wait_until(lambda: one.log.read_text())
    pid = one.state.pid
    assert pid is not None
    one.end()
    one.wait(0.2)
    assert wait_gone(pid)


def test_the_systemd_unit_restarts_the_plant(tmp_path: Path) -> None:
    unit = systemd_unit(["/venv/bin/python", "-m", "lfv.cli", "up"], {"LFV_HOME": "/data/lfv"})
    assert "ExecStart=/venv/bin/python -m lfv.cli up\n" in unit
    assert 'Environment="LFV_HOME=/data/lfv"' in unit
    assert "Restart=always" in unit


def own_file(folder: Path, **given: Any) -> tuple[Plant, dict[str, Any]]:
    """A plant in `folder`, and its deployment `scheduled` as given."""
    plant = Plant(get_settings(home=folder), 4200, 4190, given.pop("file", installed_file()))
    defaults = {"source": None, "project": None, "minutes": None}
    plant = own_deployments(plant, **{**defaults, **given})
    content = yaml.safe_load(plant.prefect_file.read_text())
    return plant, next(one for one in content["deployments"] if one["name"] == "scheduled")


def test_the_example_is_not_scheduled_until_a_source_is_given(tmp_path: Path) -> None:
    plant, scheduled = own_file(tmp_path, is_example=True)
    assert [one["active"] for one in scheduled["schedules"]] == [False]
    assert plant.schedule() is None
    command = f"{sys.executable} -m lfv.launch flows.engine"
    assert scheduled["work_pool"]["job_variables"]["command"] == command
    given = {"file": plant.prefect_file, "source": "/data/parts", "project": "parts"}
    plant, scheduled = own_file(tmp_path, **given)
    assert scheduled["parameters"]["source"] == "/data/parts"
    assert scheduled["parameters"]["allow_empty"], "a folder that exists may have no image yet"
    assert str(plant.schedule()) == "/data/parts, project parts, at 0 6 * * 1-5 (Europe/Berlin)"
    plant, _ = own_file(tmp_path, file=plant.prefect_file, minutes=0.5)
    assert str(plant.schedule()) == "/data/parts, project parts, every 0.5 minutes"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--source", "s3://plant/line-3/"], "give both"),
        (["--project", "parts"], "give both"),
        (["--source", "misspelt", "--project", "parts"], "misspelt does not exist"),
    ],
)
def test_contradictory_options_are_refused(
    plant: dict[str, str], options: list[str], message: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lfv.cli", "up", *options],
        env=plant,
        capture_output=True,
        text=True,
        timeout=PLENTY,
        check=False,
    )
    assert done.returncode in {1, 2}
    assert message in done.stderr


@pytest.fixture
def plant(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of this test's plant."""
    home = tmp_path / "home"
    environment = {**os.environ, "LFV_HOME": str(home)}
    try:
        yield environment
    finally:
        lfv(environment, "down", status=None)
        for process in with_environment("LFV_HOME", str(home)):
            kill(process.pid)


def lfv(environment: dict[str, str], *arguments: str, status: int | None = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "lfv.cli", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert status in {None, done.returncode}, done.stdout + done.stderr
    return done.stdout


def shown(environment: dict[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(lfv(environment, "status", "--json", status=None))
    return found


@pytest.mark.slow
def test_every_killed_process_is_restarted(plant: dict[str, str]) -> None:
    port, ui_port = free_port(), free_port()
    assert "nothing is running" in lfv(plant, "status", status=1)
    options = ["--source", "s3://plant/line-3/", "--project", "parts", "--every", "5"]
    options += ["--ui-port", str(ui_port)]
    said = lfv(plant, "up", "--port", str(port), *options)
    assert f"http://127.0.0.1:{port}" in said
    api = f"http://127.0.0.1:{port}/api"
    with urllib.request.urlopen(f"{api}/deployments/name/inspect-images/scheduled") as answer:
        scheduled = json.load(answer)
    assert scheduled["parameters"]["source"] == "s3://plant/line-3/"
    assert scheduled["parameters"]["project"] == "parts"
    assert scheduled["parameters"]["new_only"] is True
    assert not scheduled["parameters"]["allow_empty"], "a prefix may be misspelt"
    assert scheduled["schedules"][0]["schedule"]["interval"] == 300
    with urllib.request.urlopen(f"{api}/v2/concurrency_limits/lfv.model.parts") as answer:
        assert json.load(answer)["limit"] == RUNS_PER_MODEL
    home = Path(plant["LFV_HOME"])
    state_file = home / "plant" / "state.json"
    # A second `lfv up` prints the addresses, and changes the given options.
    said = lfv(plant, "up", "--every", "2")
    assert f"http://127.0.0.1:{port}/api" in said
    assert "s3://plant/line-3/, project parts, every 2 minutes" in said
    with urllib.request.urlopen(f"{api}/deployments/name/inspect-images/scheduled") as answer:
        assert json.load(answer)["schedules"][0]["schedule"]["interval"] == 120
    facts, text = shown(plant), lfv(plant, "status")
    for name in ("prefect_url", "prefect_api_url", "results_url", "port", "ui_port"):
        assert str(facts[name]) in text
    assert facts["results_url"] == f"http://127.0.0.1:{ui_port}"
    assert facts["scheduled"] == {
        "source": "s3://plant/line-3/",
        "project": "parts",
        "times": ["every 2 minutes"],
    }
    assert {one["name"] for one in facts["services"]} >= {"prefect-server", "worker", "sweeper"}

    before = json.loads(state_file.read_text())
    kept = {"prefect-server", "model-service", "worker", "pages"}
    for name in kept:
        (pid,) = [one["pid"] for one in before["services"] if one["name"] == name]
        os.kill(pid, signal.SIGKILL)

    def back(names: set[str]) -> bool:
        now = {one["name"]: one for one in json.loads(state_file.read_text())["services"]}
        old = {one["name"]: one for one in before["services"]}
        return all(now[name]["pid"] and now[name]["pid"] != old[name]["pid"] for name in names)

    wait_until(lambda: back(kept))
    os.kill(before["pid"], signal.SIGKILL)  # the supervisor
    wait_until(lambda: json.loads(state_file.read_text())["pid"] != before["pid"])
    wait_until(lambda: shown(plant)["ready"])
    assert "everything is down" in lfv(plant, "down")
    wait_until(lambda: not list(with_environment("LFV_HOME", str(home))))
    assert "nothing is running" in lfv(plant, "status", status=1)


def test_status_is_the_same_as_text_and_as_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    at = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
    status = PlantStatus(
        running=True,
        ready=True,
        port=4300,
        ui_port=4301,
        prefect_url="http://127.0.0.1:4300",
        prefect_api_url="http://127.0.0.1:4300/api",
        results_url="http://127.0.0.1:4301",
        scheduled=Schedule("/data/parts", "parts", ("every 5 minutes",)),
        last_run=EndedRun(at, "Crashed"),
        next_run=at + timedelta(minutes=5),
        waiting=("1 run waits behind quick-fox",),
        services=(ServiceState("worker", 4711, 2, "/data/worker.log"),),
    )
    monkeypatch.setattr("lfv.cli.plant.status.plant_status", lambda _: status)
    assert run_lfv(["status"]) == 0
    told = capsys.readouterr()
    assert run_lfv(["status", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["last_run"] == {"at": "2026-03-04T05:06:07Z", "state": "Crashed"}
    assert facts["next_run"] == "2026-03-04T05:11:07Z"

    def values(part: object) -> Iterator[str]:
        parts = part.values() if isinstance(part, dict) else part
        for one in parts if isinstance(part, dict | list) else ():
            yield from values(one)
        if not isinstance(part, dict | list | bool):
            yield str(part)

    said = told.out + told.err
    assert [one for one in values(facts) if one not in said] == []


def test_status_says_that_the_schedule_is_paused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for paused in (True, False):
        status = PlantStatus(running=True, ready=True, paused=paused)
        monkeypatch.setattr("lfv.cli.plant.status.plant_status", lambda _, found=status: found)
        assert run_lfv(["status"]) == 0
        assert ("the schedule is paused" in capsys.readouterr().err) == paused


def test_the_same_interval_keeps_its_anchor(tmp_path: Path) -> None:
    given = {"source": "/data/parts", "project": "parts"}
    plant, first = own_file(tmp_path, minutes=5, **given)
    _, same = own_file(tmp_path, file=plant.prefect_file, minutes=5, **given)
    assert same["schedules"] == first["schedules"]
    _, other = own_file(tmp_path, file=plant.prefect_file, minutes=2)
    assert other["schedules"][0]["anchor_date"] > first["schedules"][0]["anchor_date"]


def test_a_project_that_this_machine_does_not_know_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = get_settings(home=tmp_path)
    check_local_project(settings, "prats")
    assert "no project named prats yet" in capsys.readouterr().err
    settings.service_home.mkdir()
    with closing(sqlite3.connect(settings.service_home / "service.db")) as database:
        database.execute("CREATE TABLE projects (name TEXT)")
        database.execute("INSERT INTO projects VALUES ('parts')")
        database.commit()
    with pytest.raises(CommandError, match="no project named prats; the projects are: parts"):
        check_local_project(settings, "prats")
    check_local_project(settings, "parts")
    assert not capsys.readouterr().err
    (settings.service_home / "service.db").write_text("not a database")
    check_local_project(settings, "prats")
    assert not capsys.readouterr().err
