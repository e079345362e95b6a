"""Detection on the workers of a Dask cluster."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import pytest
from prefect.futures import PrefectFuture
from prefect.task_runners import TaskRunner

from flows import task_runners
from flows.inspect_images import inspect_images, resume_inspection
from flows.task_runners import result_of, task_runner
from lfv.run.detection import dask_workers
from lfv.run.detection.dask_workers import check_scheduler, check_spreadable
from lfv.run.errors import LimitReached, NotSpreadable, WorkersLost
from lfv.settings import LfvSettingsError, Settings, get_settings
from lfv_store import Store, open_store
from tests.support.endpoints import Endpoint
from tests.support.pictures import make_pictures
from tests.support.waiting import wait_until

IMAGES = 160
WORKERS = 2


@dataclass
class Cluster:
    """A scheduler, and workers of one process each; `mend` restarts them."""

    folder: Path
    address: str = ""
    scheduler: subprocess.Popen[bytes] | None = None
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def run(self, flow: Any = inspect_images, **parameters: Any) -> Any:
        """Run a flow with this cluster's task runner."""
        from prefect_dask import DaskTaskRunner

        runner = cast("TaskRunner[PrefectFuture[Any]]", DaskTaskRunner(address=self.address))
        return flow.with_options(task_runner=runner)(**parameters)

    def mend(self, *, imported: bool = True) -> None:
        """Start the scheduler and the workers that have ended, and wait for all of them."""
        if self.scheduler is None or self.scheduler.poll() is not None:
            self.close()
            file = self._scheduler_file
            file.unlink(missing_ok=True)
            self.scheduler = self._start("scheduler", "--port", "0")
            wait_until(file.exists, "the scheduler is up")
        self.workers = [worker for worker in self.workers if worker.poll() is None]
        while len(self.workers) < WORKERS:
            self.add_worker()
        self._wait_for_workers(imported)

    def add_worker(self) -> None:
        """Start another worker."""
        self.workers.append(self._start("worker", "--nthreads", "2", "--no-nanny"))

    def close(self) -> None:
        """Kill all processes."""
        for process in (*self.workers, self.scheduler):
            if process is not None:
                process.kill()
                process.wait()
        self.workers = []

    def _wait_for_workers(self, imported: bool) -> None:
        from distributed import Client

        def ready() -> bool:
            return len(client.scheduler_info(n_workers=-1)["workers"]) == len(self.workers)

        with Client(scheduler_file=str(self._scheduler_file), set_as_default=False) as client:
            wait_until(ready, "the workers are connected")
            # Otherwise, imports would use up the first run's time limit.
            if imported:
                client.run(import_module, "tasks.detect_anomalies")
            self.address = str(client.scheduler.address)

    @property
    def _scheduler_file(self) -> Path:
        return self.folder / "scheduler.json"

    def _start(self, *arguments: str) -> subprocess.Popen[bytes]:
        file = str(self._scheduler_file)
        place = ("--host", "127.0.0.1", "--scheduler-file", file, "--no-dashboard")
        with (self.folder / "dask.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "dask", *arguments, *place], stdout=log, stderr=log
            )


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The cluster that all tests of this module share, because it takes seconds to start."""
    cluster = Cluster(tmp_path_factory.mktemp("cluster"))
    yield cluster
    cluster.close()


@pytest.fixture
def cluster(
    home: Path, processes: Cluster, postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> Cluster:
    """A cluster with two workers, and the settings that name it and a PostgreSQL database."""
    processes.mend()
    monkeypatch.setenv("LFV_DATABASE_URL", postgresql_url)
    monkeypatch.setenv("LFV_TASK_RUNNER", "dask")
    monkeypatch.setenv("LFV_DASK_ADDRESS", processes.address)
    return processes


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """A folder of images that all differ."""
    folder = tmp_path / "many"
    make_pictures(folder, IMAGES)
    return folder


@pytest.fixture
def results(cluster: Cluster, postgresql_url: str) -> Iterator[Store]:
    with open_store(postgresql_url) as store:
        yield store


def _lines(store: Store, run_id: str) -> Counter[int]:
    """How many records each line of a run has."""
    return Counter(row["line_number"] for row in store.results.rows(run_id))


def test_two_workers_share_a_run(
    cluster: Cluster, many: Path, endpoint: Endpoint, results: Store
) -> None:
    endpoint.script(detect_seconds=0.05)
    summary = cluster.run(source=str(many), project="parts")
    assert summary.status == "completed"
    assert set(_lines(results, summary.run_id).values()) == {1}
    assert Counter(endpoint.asked().values()) == {1: IMAGES}
    assert len(endpoint.calls("StartModel")) == 1
    assert endpoint.status == "TRAINED"


def test_workers_import_what_they_need_before_the_model_is_up(
    cluster: Cluster, many: Path, endpoint: Endpoint
) -> None:
    from distributed import Client

    def imported() -> bool:
        return "tasks.detect_anomalies" in sys.modules

    def profiled(dask_worker: Any) -> bool:
        return bool(dask_worker.periodic_callbacks["profile"].is_running())

    for worker in cluster.workers:
        worker.kill()
        worker.wait()
    cluster.mend(imported=False)
    early: dict[str, bool] = {}

    def look() -> None:
        endpoint.wait_for_calls("StartModel", 1)
        wait_until(lambda: all(client.run(imported).values()), "the workers have imported it")
        early.update(client.run(imported), asked=bool(endpoint.calls("DetectAnomalies")))

    endpoint.script(start_seconds=20.0)
    with Client(cluster.address, set_as_default=False) as client, ThreadPoolExecutor(1) as pool:
        assert not any(client.run(imported).values())
        assert all(client.run(profiled).values())
        looking = pool.submit(look)
        summary = cluster.run(source=str(many), project="parts")
        looking.result()
        # In Python 3.11, Dask's profiler can deadlock its process.
        assert list(client.run(profiled).values()) == [sys.version_info >= (3, 12)] * WORKERS
    assert summary.status == "completed"
    assert early.pop("asked") is False
    assert list(early.values()) == [True] * WORKERS


def test_a_worker_is_killed_and_the_other_does_its_work(
    cluster: Cluster, many: Path, endpoint: Endpoint, results: Store
) -> None:
    endpoint.script(detect_seconds=0.05, slow_after=30, slow_seconds=0.4)

    def kill() -> None:
        endpoint.wait_for_calls("DetectAnomalies", 36)
        cluster.workers[0].kill()

    with ThreadPoolExecutor(1) as pool:
        killing = pool.submit(kill)
        summary = cluster.run(source=str(many), project="parts")
        killing.result()
    assert summary.status == "completed"
    assert (summary.counts.pending, summary.counts.errors) == (0, 0)
    assert _lines(results, summary.run_id) == Counter(range(1, IMAGES + 1))
    in_flight = Settings().requests_per_unit // 2
    assert sum(endpoint.asked().values()) <= IMAGES + in_flight
    assert endpoint.status == "TRAINED"


def test_a_worker_freezes_and_the_other_does_its_work(
    cluster: Cluster,
    many: Path,
    endpoint: Endpoint,
    results: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(task_runners, "UNREACHABLE_SECONDS", 20.0)
    endpoint.script(detect_seconds=0.05, slow_after=30, slow_seconds=0.4)
    frozen = cluster.workers[0]

    def freeze() -> None:
        endpoint.wait_for_calls("DetectAnomalies", 36)
        frozen.send_signal(signal.SIGSTOP)

    try:
        with ThreadPoolExecutor(1) as pool:
            freezing = pool.submit(freeze)
            summary = cluster.run(source=str(many), project="parts")
            freezing.result()
    finally:
        frozen.kill()
        frozen.wait()
    assert summary.status == "completed"
    assert _lines(results, summary.run_id) == Counter(range(1, IMAGES + 1))
    in_flight = Settings().requests_per_unit // 2
    assert sum(endpoint.asked().values()) <= IMAGES + in_flight
    assert endpoint.status == "TRAINED"


def _assert_failed(endpoint: Endpoint, results: Store) -> None:
    """The model is stopped, and no line of the failed run was recorded twice."""
    assert endpoint.status == "TRAINED"
    [run] = results.runs.list(1)
    assert run.status == "failed"
    assert set(_lines(results, run.run_id).values()) == {1}


def test_the_scheduler_is_killed(
    cluster: Cluster, many: Path, endpoint: Endpoint, results: Store
) -> None:
    import dask

    endpoint.script(slow_after=20, slow_seconds=1.0)

    def kill() -> None:
        endpoint.wait_for_calls("DetectAnomalies", 25)
        assert cluster.scheduler is not None
        cluster.scheduler.kill()

    with (
        dask.config.set({"distributed.comm.timeouts.connect": "2s"}),
        ThreadPoolExecutor(1) as pool,
    ):
        killing = pool.submit(kill)
        with pytest.raises(WorkersLost, match="no longer answers"):
            cluster.run(source=str(many), project="parts")
        killing.result()
    _assert_failed(endpoint, results)


def test_the_scheduler_dies_while_it_sends_a_result() -> None:
    from distributed.comm.core import CommClosedError

    class Future:
        def result(self) -> None:
            raise CommClosedError("in <TCP (closed) ConnectionPool.gather>")

    with pytest.raises(WorkersLost, match="no longer answers"):
        result_of(Future())  # type: ignore[arg-type]


def test_a_run_that_loses_all_its_workers_stops_its_model(
    cluster: Cluster,
    many: Path,
    endpoint: Endpoint,
    results: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(task_runners, "UNREACHABLE_SECONDS", 3.0)
    endpoint.script(slow_after=20, slow_seconds=1.0)

    def kill() -> None:
        endpoint.wait_for_calls("DetectAnomalies", 25)
        for worker in cluster.workers:
            worker.kill()

    with ThreadPoolExecutor(1) as pool:
        killing = pool.submit(kill)
        with pytest.raises(WorkersLost, match="no worker is connected"):
            cluster.run(source=str(many), project="parts")
        killing.result()
    _assert_failed(endpoint, results)


@pytest.mark.parametrize(("limit", "lost_seconds"), [(None, 12.0), (20 / 60, 30.0)])
def test_a_scheduler_that_hangs_does_not_keep_the_model_up(
    cluster: Cluster,
    many: Path,
    endpoint: Endpoint,
    monkeypatch: pytest.MonkeyPatch,
    limit: float | None,
    lost_seconds: float,
) -> None:
    monkeypatch.setattr(task_runners, "UNREACHABLE_SECONDS", lost_seconds)
    monkeypatch.setattr(task_runners, "_ANSWER_SECONDS", 5.0)
    endpoint.script(slow_after=20, slow_seconds=1.0)
    scheduler = cluster.scheduler
    assert scheduler is not None

    def hang() -> None:
        endpoint.wait_for_calls("DetectAnomalies", 25)
        scheduler.send_signal(signal.SIGSTOP)
        try:
            wait_until(lambda: endpoint.status == "TRAINED", "the model is stopped")
        finally:
            scheduler.kill()

    with ThreadPoolExecutor(1) as pool:
        hanging = pool.submit(hang)
        with pytest.raises(WorkersLost, match="does not answer"):
            cluster.run(source=str(many), project="parts", max_hosted_minutes=limit)
        hanging.result()


def test_workers_end_with_the_run(
    cluster: Cluster, many: Path, endpoint: Endpoint, results: Store
) -> None:
    endpoint.script(slow_after=20, slow_seconds=2.0)
    with pytest.raises(LimitReached):
        cluster.run(source=str(many), project="parts", max_hosted_minutes=5 / 60)
    assert endpoint.status == "TRAINED"
    [run] = results.runs.list(1)
    recorded = _lines(results, run.run_id)
    assert 20 <= len(recorded) < IMAGES
    assert len(recorded) == len(endpoint.asked())
    endpoint.script(slow_after=None)
    summary = cluster.run(resume_inspection, run=run.run_id, max_hosted_minutes=60.0)
    assert summary.status == "completed"
    assert _lines(results, run.run_id) == Counter(range(1, IMAGES + 1))
    assert Counter(endpoint.asked().values()) == {1: IMAGES}


def test_a_model_that_a_worker_loses_is_started_again(
    cluster: Cluster, many: Path, endpoint: Endpoint
) -> None:
    endpoint.script(
        detect_seconds=0.02, fail={"DetectAnomalies": [*["ok"] * 30, "ConflictException"]}
    )
    summary = cluster.run(source=str(many), project="parts")
    assert summary.status == "completed"
    assert len(endpoint.calls("StartModel")) == 2
    assert Counter(endpoint.asked().values()) == {1: IMAGES}


def test_a_cluster_without_workers_starts_no_model(
    cluster: Cluster, images: Path, endpoint: Endpoint
) -> None:
    check_scheduler(get_settings())
    for worker in cluster.workers:
        worker.terminate()
        worker.wait()
    with pytest.raises(NotSpreadable, match="no worker is connected"):
        cluster.run(source=str(images), project="parts")
    assert not endpoint.calls("StartModel")


def test_a_scheduler_that_hangs_before_the_run_starts_no_model(
    cluster: Cluster,
    images: Path,
    endpoint: Endpoint,
    results: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scheduler = cluster.scheduler
    assert scheduler is not None
    monkeypatch.setattr(dask_workers, "GREETING_SECONDS", 3.0)
    scheduler.send_signal(signal.SIGSTOP)
    try:
        with pytest.raises(NotSpreadable, match=r"no Dask scheduler answers .* end one that hangs"):
            cluster.run(source=str(images), project="parts")
    finally:
        scheduler.kill()
        scheduler.wait()
    assert not endpoint.calls("StartModel")
    [run] = results.runs.list(1)
    assert run.status == "failed"
    assert "no Dask scheduler answers" in (run.message or "")


def _settings(**members: Any) -> Settings:
    return Settings(task_runner="dask", **{"dask_address": "tcp://127.0.0.1:8786", **members})


def test_sqlite_is_refused() -> None:
    with pytest.raises(NotSpreadable, match="LFV_DATABASE_URL"):
        check_spreadable(_settings(), embedded=False)


def test_the_embedded_service_is_for_workers_on_its_machine() -> None:
    database = "postgresql://db/lfv"
    check_spreadable(_settings(database_url=database), embedded=True)
    elsewhere = _settings(database_url=database, dask_address="tcp://10.0.0.7:8786")
    check_spreadable(elsewhere, embedded=False)
    with pytest.raises(NotSpreadable, match="--endpoint-url"):
        check_spreadable(elsewhere, embedded=True)


def test_a_scheduler_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask_workers, "GREETING_SECONDS", 0.5)
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(NotSpreadable, match="timed out"):  # connections are accepted
            check_scheduler(_settings(dask_address=address))
    with pytest.raises(NotSpreadable, match="no Dask scheduler answers"):
        check_scheduler(_settings(dask_address=address))


def test_dask_needs_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LFV_TASK_RUNNER", "dask")
    with pytest.raises(LfvSettingsError, match="dask_address"):
        get_settings()


def test_the_environment_chooses_the_task_runner(monkeypatch: pytest.MonkeyPatch) -> None:
    assert type(task_runner()).__name__ == "ThreadPoolTaskRunner"
    monkeypatch.setenv("LFV_TASK_RUNNER", "dask")
    monkeypatch.setenv("LFV_DASK_ADDRESS", "tcp://10.0.0.7:8786")
    runner: Any = task_runner()
    assert runner.address == "tcp://10.0.0.7:8786"
