"""Flow runs of Prefect workers, like those of other machines, share a run's images."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.settings import PREFECT_API_URL

from flows.inspect_images import inspect_images
from flows.shards import inspect_shard
from lfv.cli.deploy import FLOW_RUN
from lfv.run.detection.shards import check_shareable
from lfv.run.errors import NotSpreadable
from lfv.settings import Settings
from lfv_store import Store, open_store
from lfv_store.run_workers import RunWorker
from tests.support.endpoints import Endpoint
from tests.support.pictures import make_pictures
from tests.support.waiting import PLENTY, wait_until

PREFECT = Path(sys.executable).with_name("prefect")
IMAGES = 160
IN_FLIGHT = 6


@pytest.fixture
def results(home: Path, postgresql_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """The results database of the settings."""
    monkeypatch.setenv("LFV_DATABASE_URL", postgresql_url)
    monkeypatch.setenv("LFV_REQUESTS_PER_UNIT", str(IN_FLIGHT))
    with open_store(postgresql_url) as store:
        yield store


@contextmanager
def _workers(number: int, folder: Path) -> Iterator[None]:
    """Prefect process workers, each with one flow run at a time, and the deployment of shards."""
    pool = f"pool-{uuid4()}"
    command = shlex.join([sys.executable, *FLOW_RUN])
    environment = {
        **os.environ,
        "PREFECT_API_URL": str(PREFECT_API_URL.value()),
        "PREFECT_WORKER_QUERY_SECONDS": "1",
    }
    with ExitStack() as stack:
        client = stack.enter_context(get_client(sync_client=True))
        client.create_work_pool(WorkPoolCreate(name=pool, type="process"))
        deployment = client.create_deployment(
            client.create_flow(inspect_shard),
            name="shard",
            entrypoint="flows.shards.inspect_shard",
            work_pool_name=pool,
            job_variables={"command": command},
            pull_steps=[],
        )
        stack.callback(client.delete_deployment, deployment)
        for one in range(number):
            log = stack.enter_context((folder / f"worker-{one}.log").open("wb"))
            process = subprocess.Popen(
                [PREFECT, "worker", "start", "--pool", pool, "--type", "process", "--limit", "1"],
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            stack.callback(process.wait, PLENTY)
            stack.callback(os.killpg, process.pid, signal.SIGKILL)
        yield


def _pid(worker: RunWorker) -> int:
    return int(worker.worker.split("/")[1])


def test_a_shard_is_killed_and_the_others_do_its_work(
    tmp_path: Path, endpoint: Endpoint, results: Store
) -> None:
    make_pictures(tmp_path / "many", IMAGES)
    endpoint.script(detect_seconds=8.0)  # until the shards have started
    over = threading.Event()

    def shards() -> list[RunWorker]:
        runs = results.runs.list(1)
        workers = results.run_workers.list(runs[0].run_id) if runs else []
        return [one for one in workers if one.claims and _pid(one) != os.getpid()]

    def kill() -> int:
        wait_until(lambda: over.is_set() or len(shards()) == 2, "both shards have claimed lines")
        endpoint.wait_for_calls("DetectAnomalies", len(endpoint.asked()) + IN_FLIGHT)
        killed = _pid(shards()[0])
        os.kill(killed, signal.SIGKILL)
        endpoint.script(detect_seconds=0.05)
        return killed

    with _workers(2, tmp_path), ThreadPoolExecutor(1) as pool:
        killing = pool.submit(kill)
        try:
            summary = inspect_images(source=str(tmp_path / "many"), project="parts", shards=2)
        finally:
            over.set()
        killed = killing.result()
    assert summary.status == "completed"
    workers = results.run_workers.list(summary.run_id)
    # The killed shard may have reported images, if it started long before the other.
    images = {_pid(one): one.images for one in workers if _pid(one) != killed}
    assert len(images) == 2
    assert all(images.values()), "the leader and the other shard"
    assert (summary.counts.pending, summary.counts.errors) == (0, 0)
    lines = Counter(row["line_number"] for row in results.results.rows(summary.run_id))
    assert lines == Counter(range(1, IMAGES + 1))
    assert sum(endpoint.asked().values()) <= IMAGES + IN_FLIGHT
    assert len(endpoint.calls("StartModel")) == 1
    assert endpoint.status == "TRAINED"


def test_a_shard_of_a_run_that_is_over_does_nothing(
    images: Path, endpoint: Endpoint, results: Store
) -> None:
    summary = inspect_images(source=str(images), project="parts")
    asked = len(endpoint.calls("DetectAnomalies"))
    assert inspect_shard(run=summary.run_id, endpoint_url=endpoint.url) == 0
    assert len(endpoint.calls("DetectAnomalies")) == asked


def test_shards_that_are_not_deployed_start_no_model(
    images: Path, endpoint: Endpoint, results: Store
) -> None:
    with pytest.raises(NotSpreadable, match="lfv deploy"):
        inspect_images(source=str(images), project="parts", shards=1)
    assert not endpoint.calls("StartModel")


def test_sqlite_is_refused(images: Path, home: Path, endpoint: Endpoint) -> None:
    with pytest.raises(NotSpreadable, match="LFV_DATABASE_URL"):
        inspect_images(source=str(images), project="parts", shards=1)
    assert not endpoint.calls("StartModel")


def test_the_embedded_service_is_refused() -> None:
    with pytest.raises(NotSpreadable, match="LFV_ENDPOINT_URL"):
        check_shareable(Settings(database_url="postgresql://db/lfv"), embedded=True)
