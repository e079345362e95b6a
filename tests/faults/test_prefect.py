"""Prefect ends a run: cancelled from its API, or killed with the worker that started it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support import serve_flow
from tests.support.deployments import PrefectApi
from tests.support.fault_list import bound
from tests.support.prefect_server import PrefectServer
from tests.support.processes import with_environment
from tests.support.scene import Scene
from tests.support.waiting import PLENTY, wait_gone, wait_until

pytestmark = pytest.mark.slow

PREFECT = str(Path(sys.executable).with_name("prefect"))
LFV = str(Path(sys.executable).with_name("lfv"))


@pytest.fixture
def api(prefect: PrefectServer) -> PrefectApi:
    return PrefectApi(prefect.api_url)


def test_a_served_flow_is_cancelled(
    scene_on_sqlite: Scene, prefect: PrefectServer, api: PrefectApi
) -> None:
    scene = scene_on_sqlite
    with process(scene, prefect, [sys.executable, serve_flow.__file__, "served"]):
        flow_run = begin(scene, api, api.deployment("served"))
        since = scene.fault()
        api.cancel(flow_run)
        scene.check_stopped(since, bound("cancel-served"))
        wait_until(lambda: api.state(flow_run) == "CANCELLED")
    run = scene.newest_run()
    assert run.status == "cancelled"
    assert {"inspection-summary", "inspection-results"} <= api.artifacts(flow_run)
    assert (scene.home / "runs" / run.run_id / "report.html").exists()
    scene.resume().finish()
    scene.check_finished()


def test_a_worker_cancels_a_flow_run_and_is_terminated_with_another(
    scene_on_sqlite: Scene, prefect: PrefectServer, api: PrefectApi
) -> None:
    scene = scene_on_sqlite
    scene.environment["LFV_READ_TIMEOUT_SECONDS"] = "60"
    pool = f"faults-{scene.endpoint.host}"  # the same server may be used for other hosts
    deployment = api.deploy(f"worked-{scene.endpoint.host}", pool=pool)
    command = [PREFECT, "worker", "start", "--pool", pool, "--type", "process"]
    with process(scene, prefect, command) as worker:
        flow_run = begin(scene, api, deployment)
        since = scene.fault()
        api.cancel(flow_run)
        scene.check_stopped(since, bound("cancel-worker"))
        wait_until(lambda: api.state(flow_run) == "CANCELLED")
        assert scene.newest_run().status == "cancelled"
        assert "inspection-summary" in api.artifacts(flow_run)

        # It detects the images that the first left, and is busy until the worker ends it.
        begin(scene, api, deployment, then=10)
        killed = flow_run_process(scene)
        since = scene.fault()
        worker.terminate()
        scene.check_stopped(since, bound("worker"))
        assert wait_gone(killed)
    assert scene.newest_run().status == "crashed"
    scene.resume().finish()
    scene.check_finished()


def test_a_command_whose_flow_run_is_cancelled_ends(
    scene_on_sqlite: Scene, prefect: PrefectServer, api: PrefectApi
) -> None:
    scene = scene_on_sqlite
    command = [LFV, "inspect", scene.manifest, "--project", "parts"]
    with process(scene, prefect, command) as lfv:
        scene.asking()
        flow_run = scene.newest_run().flow_run_id
        assert flow_run is not None
        since = scene.fault()
        api.cancel(flow_run)
        scene.check_stopped(since, bound("cancel-command"))
        assert lfv.wait(PLENTY) == 1
    assert "cancelled on Prefect's page" in (scene.folder / "prefect.log").read_text()
    assert api.state(flow_run) == "CANCELLED"
    assert scene.newest_run().status == "cancelled"
    scene.resume().finish()
    scene.check_finished()


def begin(scene: Scene, api: PrefectApi, deployment: str, *, then: float = 1.0) -> str:
    """Run a deployment over the scene's manifest; return once detection runs.

    Answers take `then` seconds from that moment on.
    """
    flow_run = api.run(deployment, source=scene.manifest, project="parts")
    scene.asking(then=then)
    return flow_run


def flow_run_process(scene: Scene) -> int:
    """The process of the flow run that runs detection: the one that started its guard."""
    started = with_environment("LFV_HOME", str(scene.home))
    (guard,) = (one for one in started if "lfv.run.hosting.guard" in one.command)
    return guard.parent


@contextmanager
def process(
    scene: Scene, prefect: PrefectServer, command: Sequence[str]
) -> Iterator[subprocess.Popen[bytes]]:
    """A Prefect process that runs flows on this scene."""
    environment = {
        **os.environ,
        **prefect.environment,
        **scene.environment,
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "PREFECT_RUNNER_POLL_FREQUENCY": "1",
    }
    with (scene.folder / "prefect.log").open("wb") as log:
        started = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        yield started
    finally:
        started.terminate()
        try:
            started.wait(PLENTY)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()
