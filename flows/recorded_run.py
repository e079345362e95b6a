"""The first steps of a flow run that has its run's record: the model, and the connections."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from prefect import runtime

from flows.events import RunEvents
from flows.task_runners import imports_on_workers, workers_of_new_run
from lfv.run.active import ActiveRun, open_run
from lfv.run.context import NewLimits
from lfv.run.detection.dask_workers import check_scheduler, check_spreadable
from lfv.run.embedded_service import api_endpoint, is_embedded
from lfv.run.start import RunStarter
from lfv.settings import Settings
from lfv_store import Run, Store
from tasks.find_model import find_model


def open_recorded_run(
    stack: ExitStack, settings: Settings, store: Store, run: Run, limits: NewLimits | None = None
) -> ActiveRun:
    """Find the model of a run that was begun, or that is resumed; `stack` closes what is opened.

    The run is recorded before its model is looked up, so a failure of that is recorded, too.
    """
    endpoint_url = stack.enter_context(api_endpoint(settings, host=run.host))
    starter = RunStarter(store, settings, endpoint_url, flow_run_id())
    if settings.task_runner == "dask":
        check_scheduler(settings)
    workers = workers_of_new_run()
    if workers:
        check_spreadable(settings, embedded=is_embedded(settings, run.host))
        stack.enter_context(imports_on_workers())
    context = replace(find_model(starter, run, limits), workers=workers)
    return stack.enter_context(open_run(context, store))


@contextmanager
def emit_failure(run: Run) -> Iterator[None]:
    """Emit the event of a run that fails in this block."""
    try:
        yield
    except BaseException as error:
        RunEvents(run).report_failure(error, None)
        raise


def flow_run_id() -> str | None:
    """Return the id of this flow run; None outside of flow runs."""
    return str(runtime.flow_run.id) if runtime.flow_run.id else None
