"""Runs a flow in the process of a command, with its progress on stderr."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from lfv.cli.errors import Interrupted
from lfv.cli.progress import Activity
from lfv.cli.signals import restored
from lfv.launch import loading

if TYPE_CHECKING:
    from lfv.run.control import Progress
    from lfv.run.summary import RunSummary
    from lfv.settings import Settings


def run_flow(
    settings: Settings,
    arguments: dict[str, Any],
    *,
    resume: bool = False,
    show_progress: bool = True,
    host: str | None = None,
) -> RunSummary:
    """Run a flow in this process, to inspect or to resume, showing progress on stderr.

    Prefect's server, the embedded service and the guard are separate processes, which start while
    this one imports the flow. `host` is the model's kind of host, by default that of the settings.
    """
    from lfv.cli.plant.running import use_running_plant
    from lfv.cli.prefect_api import exit_cleanly_on_sigterm, prefect_api, start_server_early
    from lfv.settings import quieten_prefect, use_in_process

    if settings.task_runner == "dask":
        from lfv.run.dask_workers import check_scheduler

        check_scheduler(settings)
    use_running_plant(settings.home)
    if arguments.get("shards"):
        from lfv.run.shards import check_before_start

        check_before_start(settings, host)
    use_in_process(settings)
    quieten_prefect()
    log = settings.home / "prefect-server.log"
    watcher = _Watcher()
    try:
        with (
            restored(),
            exit_cleanly_on_sigterm(),
            Activity("inspect", quiet=not show_progress) as activity,
            ExitStack() as stack,
        ):
            watcher.activity = activity
            activity.show("starting")
            server = start_server_early(log)  # first, because it is the slowest
            with loading():
                from lfv.run.embedded_service import endpoint_ahead

                stack.enter_context(endpoint_ahead(settings, host=host))
                from lfv.run.hosting.guard_client import guard_ahead

                stack.enter_context(guard_ahead(settings))
                from flows.cancellation import cancellable
                from flows.inspect_images import inspect_images, resume_inspection
                from lfv.run.control import watch_runs

                stack.enter_context(prefect_api(log, server))
            chosen = resume_inspection if resume else inspect_images
            with watch_runs(watcher), cancellable(chosen) as flow:
                summary: RunSummary = flow(**arguments)
            return summary
    except KeyboardInterrupt:
        if watcher.may_be_recorded:
            text = "answers so far are stored; `lfv inspect --resume last` inspects the rest"
        elif resume:
            text = "the run was not resumed"
        else:
            text = "no run was recorded, and no model was started"
        raise Interrupted(text) from None


class _Watcher:
    """Shows the progress of a run, and notes whether it may be recorded."""

    def __init__(self) -> None:
        self.activity = Activity("inspect", quiet=True)
        self.may_be_recorded = False

    def __call__(self, step: Progress) -> None:
        self.may_be_recorded = True
        if step.total is not None:
            self.activity.count(step.done, step.total)
            if step.phase == "detect":
                self.activity.show("detecting anomalies")
        elif step.text:
            self.activity.show(step.text)
