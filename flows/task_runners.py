"""What runs the batches of detection: threads of the flow's process, or a Dask cluster."""

from __future__ import annotations

from typing import Any, cast

from prefect.context import FlowRunContext
from prefect.futures import PrefectFuture
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from lfv.run.errors import NotSpreadable, WorkersLost
from lfv.settings import LfvSettingsError, get_settings

_THREADS = 64


def task_runner() -> TaskRunner[PrefectFuture[Any]]:
    """The task runner that the environment asks for.

    It is chosen when the flow is defined.  Settings that cannot be used are for the flow itself to
    report, when it runs.

    Raises:
        NotSpreadable: Dask is asked for and not installed.
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


def worker_processes() -> int:
    """Other processes that the task runner of this flow run spreads detection over; 0 for threads.

    Raises:
        NotSpreadable: The Dask cluster has no worker.
    """
    context = FlowRunContext.get()
    runner: Any = context.task_runner if context is not None else None
    client = getattr(runner, "client", None)
    if client is None:
        return 0
    workers = len(client.scheduler_info(n_workers=-1)["workers"])
    if not workers:
        raise NotSpreadable(
            f"no worker is connected to the Dask scheduler {runner.address}; start some with: "
            f"dask worker {runner.address}"
        )
    return workers


def result_of(future: PrefectFuture[Any]) -> Any:
    """What a batch returned.

    Raises:
        WorkersLost: The workers that had the batch died, one after the other, or the scheduler.
    """
    try:
        return future.result()
    except Exception as error:
        if type(error).__name__ == "FutureCancelledError":
            raise WorkersLost(
                "the Dask scheduler no longer answers; finished images are kept: start it again, "
                f"then resume the run: {error}"
            ) from error
        if type(error).__name__ == "KilledWorker":  # of an optional package
            raise WorkersLost(
                "Dask workers died again and again with the same images in hand; look into their "
                f"logs, then resume the run: {error}"
            ) from error
        raise


def _threads() -> TaskRunner[PrefectFuture[Any]]:
    # It is declared with a narrower future than flow() asks for.
    return cast("TaskRunner[PrefectFuture[Any]]", ThreadPoolTaskRunner(max_workers=_THREADS))
