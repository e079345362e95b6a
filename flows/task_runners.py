"""The task runners for detection: threads of the flow's process, or a Dask cluster."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

from prefect.context import FlowRunContext
from prefect.futures import PrefectFuture
from prefect.logging import get_run_logger
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from lfv.run.detection.dask_workers import stop_profiler
from lfv.run.errors import NotSpreadable, WorkersLost
from lfv.settings import LfvSettingsError, get_settings

_THREADS = 64
#: Interval at which the workers of a cluster are counted.
_COUNT_SECONDS = 2.0
#: How long the scheduler may take to name its workers.
_ANSWER_SECONDS = 10.0
#: How long a run waits, with its model up, for a worker or the scheduler to come back.
UNREACHABLE_SECONDS = 60.0


def task_runner() -> TaskRunner[PrefectFuture[Any]]:
    """Return the task runner selected by the settings.

    Called when the flow is defined. Invalid settings are reported later, when the flow runs.

    Raises:
        NotSpreadable: Dask is selected and not installed.
    """
    try:
        settings = get_settings()
    except LfvSettingsError:
        return _threads()
    if settings.task_runner == "threads":
        return _threads()
    try:
        from prefect_dask import DaskTaskRunner
    except ImportError:
        raise NotSpreadable(
            "Dask is not installed; install it with: pip install 'lfv-pipeline[dask]'"
        ) from None
    return cast("TaskRunner[PrefectFuture[Any]]", DaskTaskRunner(address=settings.dask_address))


def workers_of_new_run() -> int:
    """Return the number of worker processes of this flow run's task runner; 0 for threads.

    Raises:
        NotSpreadable: The Dask cluster has no worker, or its scheduler does not answer.
    """
    client = _dask_client()
    if client is None:
        return 0
    try:
        return len(_last_seen(client))
    except OSError as error:
        runner: Any = cast("FlowRunContext", FlowRunContext.get()).task_runner
        raise NotSpreadable(
            f"the Dask scheduler {runner.address} does not answer; check its log or start it "
            f"again, then start the run again: {error or 'timed out'}"
        ) from error


@contextmanager
def imports_on_workers() -> Iterator[None]:
    """Have the workers import what a batch needs while the model is started, not once it is paid.

    A worker that cannot says so in its first batch.
    """
    client = _dask_client()
    if client is None:
        yield
        return
    imports = [
        client.submit(import_batch_code, workers=[address], pure=False, priority=1)
        for address in _last_seen(client)
    ]
    try:
        yield
    finally:
        imports.clear()  # Dask forgets what nothing refers to


def import_batch_code() -> None:
    """Import what detect_anomalies() uses."""
    stop_profiler()
    import tasks.detect_anomalies  # noqa: F401


class LiveWorkers:
    """The number of live worker processes, which may join and die during a run.

    A worker that freezes keeps its connection. Dask waits five to ten minutes for its heartbeat;
    here it is removed sooner, and others get its batches.

    Args:
        at_first: Their number when the run began; 0 for a run without workers.
    """

    def __init__(self, at_first: int) -> None:
        self._workers = at_first
        self._counted_at = self._seen_at = time.monotonic()
        #: When the scheduler last saw each worker, by its clock, and when that changed, by ours.
        self._heartbeats: dict[str, tuple[float, float]] = {}

    def count(self) -> int:
        """Return their number; while none is alive, the last one.

        Raises:
            WorkersLost: There was no worker, or no answer from the scheduler, for too long.
        """
        if self._workers and time.monotonic() - self._counted_at > _COUNT_SECONDS:
            try:
                self._workers = self._count()
                self._seen_at = time.monotonic()
            except (NotSpreadable, OSError) as error:
                if time.monotonic() - self._seen_at > UNREACHABLE_SECONDS:
                    what = "the scheduler does not answer" if isinstance(error, OSError) else error
                    raise WorkersLost(
                        f"no Dask worker could be reached for {UNREACHABLE_SECONDS:g} seconds; "
                        f"finished images are kept: repair the cluster, then resume the run: {what}"
                    ) from error
            self._counted_at = time.monotonic()
        return self._workers

    def _count(self) -> int:
        client, now = _dask_client(), time.monotonic()
        beats = _last_seen(client)
        before, self._heartbeats = self._heartbeats, {}
        for address, seen in beats.items():
            earlier = before.get(address, (None, now))
            self._heartbeats[address] = (seen, now if seen != earlier[0] else earlier[1])
        for address, (_, since) in self._heartbeats.items():
            if now - since > UNREACHABLE_SECONDS:
                get_run_logger().warning(
                    "the Dask worker %s has frozen: no heartbeat for %g seconds; others get its "
                    "batches: end its process",
                    address,
                    UNREACHABLE_SECONDS,
                )
                _ask(client, client.scheduler.unregister, address=address, stimulus_id="lfv-frozen")
        return len(beats)


def result_of(future: PrefectFuture[Any]) -> Any:
    """Return the result of a batch.

    Raises:
        WorkersLost: The scheduler died, or all workers that tried the batch.
    """
    try:
        return future.result()
    except Exception as error:
        # Compared by name, because the package is optional. The second is raised if the scheduler
        # dies while it sends the result.
        if type(error).__name__ in ("FutureCancelledError", "CommClosedError"):
            raise WorkersLost(
                "the Dask scheduler no longer answers; finished images are kept: start it again, "
                f"then resume the run: {error}"
            ) from error
        if type(error).__name__ == "KilledWorker":
            raise WorkersLost(
                "Dask workers died repeatedly while they detected the same images; check their "
                f"logs, then resume the run: {error}"
            ) from error
        raise


def _last_seen(client: Any) -> dict[str, float]:
    """Return when the scheduler last saw each worker, in its seconds since 1970, by address.

    Raises:
        NotSpreadable: The Dask cluster has no worker.
        OSError: Its scheduler does not answer.
    """
    workers = _ask(client, client.scheduler.identity, n_workers=-1)["workers"]
    if not workers:
        address = client.scheduler.address
        raise NotSpreadable(
            f"no worker is connected to the Dask scheduler {address}; start some with: "
            f"dask worker {address}"
        )
    return {address: worker["last_seen"] for address, worker in workers.items()}


def _ask(client: Any, method: Any, **arguments: Any) -> Any:
    """Call a method of the scheduler with a time limit, which the client's own methods lack."""
    return client.sync(method, callback_timeout=_ANSWER_SECONDS, **arguments)


def _dask_client() -> Any:
    """Return the client of this flow run's cluster; None for threads."""
    context = FlowRunContext.get()
    return getattr(context.task_runner if context is not None else None, "client", None)


def _threads() -> TaskRunner[PrefectFuture[Any]]:
    # Its type declares a narrower future than flow() expects.
    return cast("TaskRunner[PrefectFuture[Any]]", ThreadPoolTaskRunner(max_workers=_THREADS))
