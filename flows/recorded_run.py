"""The first steps of a flow run: its record, its model, and its connections."""

from __future__ import annotations

from contextlib import ExitStack, nullcontext
from dataclasses import replace

from prefect import runtime

from flows.events import RunEvents
from flows.task_runners import worker_processes
from lfv.run.active import ActiveRun, open_run
from lfv.run.context import InspectionRequest, NewLimits
from lfv.run.control import announce_run
from lfv.run.dask_workers import check_spreadable
from lfv.run.embedded_service import api_endpoint, is_embedded
from lfv.run.lookup import find_unfinished_run
from lfv.run.start import RunStarter, begin_run, record_failure
from lfv.settings import Settings
from lfv_store import Run, Store
from tasks.find_model import find_model


def open_recorded_run(
    stack: ExitStack,
    settings: Settings,
    store: Store,
    request: InspectionRequest | None,
    resume: str | None = None,
    limits: NewLimits | None = None,
) -> ActiveRun:
    """Record a run for `request`, or find the one to resume; then find its model.

    The run is recorded before its model is looked up, so a failure of that is recorded, too. If a
    run cannot be resumed, the record of its end is kept. `stack` closes what is opened.
    """
    announce_run()
    if request is None:
        begun = find_unfinished_run(store, resume or "")
    else:
        begun = begin_run(store, request, _flow_run_id())
    try:
        with record_failure(begun.run_id, store) if request is not None else nullcontext():
            return _open(stack, settings, store, begun, limits)
    except BaseException as error:
        RunEvents(begun).report_failure(error, None)
        raise


def _open(
    stack: ExitStack, settings: Settings, store: Store, begun: Run, limits: NewLimits | None
) -> ActiveRun:
    endpoint_url = stack.enter_context(api_endpoint(settings, host=begun.host))
    starter = RunStarter(store, settings, endpoint_url, _flow_run_id())
    workers = worker_processes()
    if workers:
        check_spreadable(settings, embedded=is_embedded(settings, begun.host))
    context = replace(find_model(starter, begun, limits), workers=workers)
    return stack.enter_context(open_run(context, store))


def _flow_run_id() -> str | None:
    return str(runtime.flow_run.id) if runtime.flow_run.id else None
