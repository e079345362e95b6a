"""deployments/prefect.yaml, deployed to a real server and run by a real worker."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from playwright.sync_api import Locator

from flows.run_slots import RUNS_PER_MODEL
from lfv.cli.plant.left_runs import cancel_runs
from lfv.cli.plant.server_api import ServerApi
from lfv.cli.plant.services import Plant, own_deployments
from lfv.client.sources import SourceReader
from lfv.run.arrivals import Arrivals
from lfv.run.new_images import RETRIES
from lfv.settings import get_settings
from lfv_store import Claims, NewInspection, ObjectClaim, open_store
from tests.conftest import skip_or_fail
from tests.support.browser import chromium, launched
from tests.support.databases import PostgresServer
from tests.support.deployments import PrefectApi
from tests.support.endpoints import endpoint_in_process
from tests.support.pictures import make_pictures
from tests.support.prefect_server import PrefectServer, prefect_server
from tests.support.store_samples import a_run, an_image
from tests.support.waiting import PLENTY, wait_until

PREFECT = Path(sys.executable).with_name("prefect")
LFV = Path(sys.executable).with_name("lfv")
ROOT = Path(__file__).parents[2]
POOL = "inspection"


def output(server: PrefectServer, *command: str | Path, seconds: float = 120) -> str:
    """Return a command's output; fail with its output if it failed."""
    done = subprocess.run(
        command,
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


def is_final(server: PrefectServer, flow_run: str) -> bool:
    return api(server, f"flow_runs/{flow_run}")["state_type"] in {"COMPLETED", "FAILED", "CRASHED"}


def run_by_form(server: PrefectServer, *, source: str, project: str) -> str:
    """Fill in the operator's form in a browser, as a person does; return the flow run's id."""
    program = chromium()
    if program is None:
        skip_or_fail("no Chromium")
    deployment = api(server, "deployments/name/inspect-images/operator")["id"]
    with launched(program) as browser:
        page = browser.new_page()
        page.set_default_timeout(PLENTY * 1000)
        address = server.api_url.removesuffix("/api")
        page.goto(f"{address}/deployments/deployment/{deployment}/run")

        def field(label: str, control: str = "textarea") -> Locator:
            title = page.locator(".schema-form-property__label", has_text=re.compile(f"^{label}"))
            return page.locator(".schema-form-property", has=title).last.locator(control)

        def choose(choice: str) -> None:
            page.get_by_role("button", name=choice, exact=True).click()

        field("source").fill(source)
        field("project").fill(project)
        field("pause_at_reject_rate", "button:has-text('float')").click()
        field("pause_at_reject_rate", "input").fill("0.01")
        choose("Policy")
        field("Name").fill("tonight")
        choose("By confidence")
        field("Confidence", "input").fill("0.7")
        # Leaving the field redraws the form, which loses a click.
        field("Confidence", "input").press("Tab")
        form = page.url
        wanted = {"deployments": {"id": {"any_": [deployment]}}}
        prefect = PrefectApi(server.api_url)

        def submitted() -> Any:
            if runs := prefect.call("flow_runs/filter", wanted):
                return runs
            if page.url == form:
                choose("Submit")
                page.wait_for_timeout(10_000)
            return prefect.call("flow_runs/filter", wanted)

        run = wait_until(submitted, "the form is submitted")[0]
    return str(run["id"])


def refs(field: dict[str, Any]) -> list[str]:
    """The models of a field's choices; fails where a choice is a mapping without fields."""
    choices = field.get("anyOf", [field])
    assert all("$ref" in one or one["type"] != "object" for one in choices), field
    return [one["$ref"].rpartition("/")[2] for one in choices if "$ref" in one]


def delete(server: PrefectServer, path: str) -> None:
    request = urllib.request.Request(f"{server.api_url}/{path}", method="DELETE")
    urllib.request.urlopen(request, timeout=PLENTY).close()


@pytest.fixture(scope="module")
def deployed(
    tmp_path_factory: pytest.TempPathFactory, postgresql_server: PostgresServer
) -> Iterator[PrefectServer]:
    """A Prefect server on PostgreSQL, with our deployments."""
    folder = tmp_path_factory.mktemp("prefect")
    pages = {"PREFECT_UI_ENABLED": "true", "PREFECT_UI_STATIC_DIRECTORY": str(folder / "pages")}
    events = {"PREFECT_SERVER_SERVICES_TRIGGERS_ENABLED": "true"}
    with (
        postgresql_server.database(migrated=False) as url,
        prefect_server(folder, database=url, **pages, **events) as server,
    ):
        assert not list(folder.glob("*.db"))  # as Prefect makes by default
        said = output(server, LFV, "deploy", "--runs-per-model", "3", "--fast-start")
        assert "cookies: 3 runs at a time" in said
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
    assert operator["job_variables"]["command"].endswith("-m lfv.launch flows.engine")
    assert operator["enforce_parameter_schema"]
    schema = operator["parameter_openapi_schema"]
    fields = schema["properties"]
    assert all(field["description"] for field in fields.values())
    # Nothing has to be typed as JSON: every value has its own fields.
    models = [name for field in fields.values() for name in refs(field)]
    assert models == ["PolicyFields", "HostOptions"]
    assert set(operator["parameter_openapi_schema"]["required"]) == {"source", "project"}
    sweeper = api(deployed, "deployments/name/stop-idle-models/every-five-minutes")
    assert sweeper["schedules"][0]["schedule"]["cron"] == "*/5 * * * *"
    assert api(deployed, "deployments/name/resume-inspection/resume")
    assert api(deployed, "deployments/name/inspect-shard/shard")
    assert scheduled["parameters"]["new_only"] is True
    assert api(deployed, "deployments/name/prune/housekeeping")["parameters"]["dry_run"] is True
    assert api(deployed, "v2/concurrency_limits/lfv.model.cookies")["limit"] == 3
    assert api(deployed, "work_pools/inspection")["type"] == "process"


def test_deploying_again_keeps_a_limit_that_a_person_changed(deployed: PrefectServer) -> None:
    assert "cookies: 3 runs at a time" in output(deployed, LFV, "deploy", "--fast-start")


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
    assert said.startswith("3 images to inspect: started flow run ")
    started = api(deployed, f"flow_runs/{said.split()[-1]}")
    assert started["parameters"]["source"] == str(tmp_path / "incoming")
    assert started["parameters"]["new_only"] is True
    assert started["parameters"]["project"] == "parts"
    assert started["parameters"]["triggered_by"].startswith("lfv watch")

    # Once the deployment has completed a run, a new watch leaves out known images.
    done = {"state": {"type": "COMPLETED"}, "force": True}
    PrefectApi(deployed.api_url).call(f"flow_runs/{started['id']}/set_state", done)
    inspected_by(started, tmp_path / "home")
    make_pictures(tmp_path / "incoming", 1, first=100)
    said = watch()
    assert said.startswith("1 image to inspect: started flow run ")
    delete(deployed, f"flow_runs/{said.split()[-1]}")  # no worker is to take it


def inspected_by(flow_run: dict[str, Any], home: Path) -> None:
    """Record a run with a final record for each image of its source."""
    given = flow_run["parameters"]
    seen = Arrivals(given["source"], SourceReader(), settle_seconds=0).look()
    home.mkdir(exist_ok=True)
    with open_store(get_settings(home=home).store_url) as store:
        facts = {"source": given["source"], "project_name": given["project"]}
        run = a_run(store, flow_run_id=flow_run["id"], **facts)
        store.watermarks.begin(run, timedelta(minutes=5))
        records, claims = [], []
        for line, (key, stamp) in enumerate(seen.items(), 1):
            failed = {"error_code": "image_invalid", "error_message": "Not a picture."}
            records.append(NewInspection(line, key, datetime.now(UTC), an_image(key), **failed))
            claims.append(ObjectClaim(line, key, stamp, ""))
        store.inspections.plan(
            run, done=records, through_line=len(seen), claims=Claims(claims, RETRIES)
        )
        store.watermarks.release(run)


def test_an_event_of_another_program_starts_the_deployment(deployed: PrefectServer) -> None:
    deployment = api(deployed, "deployments/name/inspect-images/scheduled")["id"]
    calls = PrefectApi(deployed.api_url)
    event = {
        "event": "lfv.images.arrived",
        "id": str(uuid.uuid4()),
        "occurred": datetime.now(UTC).isoformat(),
        "resource": {"prefect.resource.id": "s3.plant.line-3"},
    }
    calls.call("events", [event])
    wanted = {"deployments": {"id": {"any_": [deployment]}}}

    def started() -> list[dict[str, Any]]:
        found = calls.call("flow_runs/filter", wanted)
        return [one for one in found if one["parameters"]["triggered_by"] == "event"]

    wait_until(started, "a flow run of the trigger")
    (flow_run,) = started()
    assert flow_run["parameters"]["new_only"] is True
    delete(deployed, f"flow_runs/{flow_run['id']}")  # no worker is to take it


@contextmanager
def worker(server: PrefectServer, **settings: str) -> Iterator[None]:
    """A process worker of the pool, with these settings of ours."""
    process = subprocess.Popen(
        [PREFECT, "worker", "start", "--pool", POOL, "--work-queue", "default"],
        env={
            **os.environ,
            **server.environment,
            **settings,
            "PREFECT_WORKER_QUERY_SECONDS": "1",
            # The commands of flow runs begin with `python`, as in the container image.
            "PATH": f"{PREFECT.parent}{os.pathsep}{os.environ['PATH']}",
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield
    finally:
        # The sweeper's schedule may just have given it a flow run of its own.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(PLENTY)


def deployed_by_up(seconds: float | None, source: Path, folder: Path) -> Path:
    """The file of `lfv up --source --every`; without `seconds`, it schedules nothing."""
    plant = Plant(get_settings(home=folder), 0, 0, ROOT / "deployments" / "prefect.yaml")
    file = own_deployments(plant, source=str(source), project="parts", minutes=None).prefect_file
    content = yaml.safe_load(file.read_text())
    (scheduled,) = (one for one in content["deployments"] if one["name"] == "scheduled")
    often = {"interval": seconds or 600, "slug": "often", "active": seconds is not None}
    scheduled["schedules"] = [often]
    scheduled["parameters"] |= {"settle_seconds": 0}
    file.write_text(yaml.safe_dump(content))
    return file


@pytest.mark.slow
def test_runs_by_form_and_schedule_pause_resume_and_are_cancelled_on_postgresql(
    deployed: PrefectServer, tmp_path: Path, postgresql_url: str
) -> None:
    calls = PrefectApi(deployed.api_url)
    lot, incoming, more = (tmp_path / name for name in ("lot", "incoming", "more"))
    make_pictures(lot, 100)
    make_pictures(incoming, 5, first=200)
    make_pictures(more, 100, first=300)
    own = {"LFV_HOME": str(tmp_path / "home"), "LFV_DATABASE_URL": postgresql_url}
    own |= {"LFV_REQUESTS_PER_UNIT": "4", "LFV_READ_TIMEOUT_SECONDS": "60"}
    with (
        endpoint_in_process(tmp_path) as endpoint,
        open_store(postgresql_url) as store,
        worker(deployed, **own, LFV_ENDPOINT_URL=endpoint.url),
    ):
        # An operator's run stops its model and asks: half of the parts are anomalous.
        endpoint.script(slow_after=40, slow_seconds=1.0)
        flow_run = run_by_form(deployed, source=str(lot), project="parts")
        wait_until(lambda: calls.state(flow_run) == "PAUSED")
        assert endpoint.status == "TRAINED"
        (run,) = store.runs.list()
        assert store.inspections.counts(run.run_id).pending > 0
        endpoint.script(slow_after=None)
        calls.call(f"flow_runs/{flow_run}/resume", {"run_input": {"answer": "continue"}})
        wait_until(lambda: is_final(deployed, flow_run))
        assert calls.state(flow_run) == "COMPLETED"
        run = store.runs.get(run.run_id)
        assert (run.triggered_by, run.flow_run_id) == ("deployment operator", flow_run)
        assert run.policy["name"] == "tonight"
        assert run.policy["default"]["classification"] == {"min_confidence": 0.7}
        assert store.inspections.counts(run.run_id).inspected == 100
        assert len(endpoint.calls("StartModel")) == 2

        # The schedule starts runs, and images arrive in between.
        def by_the_clock() -> list[int]:
            runs = [one for one in store.runs.list() if one.triggered_by == "schedule"]
            return [store.inspections.counts(one.run_id).inspected for one in reversed(runs)]

        file = deployed_by_up(10, incoming, tmp_path)
        output(deployed, LFV, "deploy", "--prefect-file", file)
        wait_until(lambda: sum(by_the_clock()) == 5)
        make_pictures(tmp_path / "written", 3, first=250)
        (tmp_path / "written").rename(incoming / "at once")  # no run finds one or two of them
        wait_until(lambda: sum(by_the_clock()) == 8)
        assert [number for number in by_the_clock() if number] == [5, 3]
        file = deployed_by_up(None, incoming, tmp_path)
        output(deployed, LFV, "deploy", "--prefect-file", file)
        wait_until(lambda: endpoint.status == "TRAINED")
        assert set(endpoint.asked().values()) == {1}
        assert len(endpoint.asked()) == 108

        # `lfv down` cancels runs: the model is stopped, and both databases agree.
        asked = len(endpoint.calls("DetectAnomalies"))
        endpoint.script(slow_after=5, slow_seconds=1.0)
        operator = calls.deployment("operator")
        flow_run = calls.run(operator, source=str(more), project="parts")
        endpoint.wait_for_calls("DetectAnomalies", asked + 5)
        cancel_runs(ServerApi(deployed.api_url), POOL, "the plant ends")
        wait_until(lambda: calls.state(flow_run) == "CANCELLED")
        assert endpoint.status == "TRAINED"
        (status,) = [one.status for one in store.runs.list() if one.flow_run_id == flow_run]
        assert status == "cancelled"
        assert "inspection-summary" in calls.artifacts(flow_run)

        # The first run of a model creates its limit, and each run releases its slot.
        def limit() -> dict[str, Any]:
            return api(deployed, "v2/concurrency_limits/lfv.model.parts")

        assert limit()["limit"] == RUNS_PER_MODEL
        wait_until(lambda: limit()["active_slots"] == 0)  # a last scheduled run may still use it
