"""Runs a flow in the process of a command, with its progress on stderr."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lfv.cli.errors import CommandError, Interrupted
from lfv.cli.output import note
from lfv.cli.progress import Activity
from lfv.cli.signals import restored
from lfv.launch import loading
from lfv.run.errors import EndedByOperator

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
        from lfv.run.detection.dask_workers import check_scheduler

        check_scheduler(settings)
    use_running_plant(settings.home)
    if arguments.get("shards"):
        from lfv.run.detection.shards import check_before_start

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
    except (KeyboardInterrupt, SystemExit, EndedByOperator) as ending:
        recorded = _recorded_end(settings, watcher.run_id)
        if recorded is not None:
            return recorded
        if not isinstance(ending, KeyboardInterrupt):
            raise
        if watcher.may_be_recorded:
            text = "answers so far are stored; `lfv inspect --resume last` inspects the rest"
        elif resume:
            text = "the run was not resumed"
        else:
            text = "no run was recorded, and no model was started"
        raise Interrupted(text) from None


def _recorded_end(settings: Settings, run_id: str | None) -> RunSummary | None:
    """Return the summary of a run that is recorded as completed, else None.

    Signals are ignored meanwhile. Raises `CommandError` if the run is recorded as failed.
    """
    if run_id is None:
        return None
    from lfv.run.active import open_reader
    from lfv.run.hosting.hold import ignore_signals
    from lfv.run.report import summarize
    from lfv_store import StoreError, open_store

    try:
        with ignore_signals(), open_store(settings.store_url, migrate=False) as store:
            run = store.runs.get(run_id)
            if run.status == "failed":
                raise CommandError(f"the run has failed: {run.message}")
            if run.status != "completed":
                return None
            note("lfv: the run was completed before it was interrupted")
            with open_reader(settings, run.host) as reader:
                summary = summarize(run, store, reader)
            report = settings.report_path(run_id)
            ended = run.finished_at
            if ended and report.exists() and report.stat().st_mtime >= ended.timestamp():
                return replace(summary, report=report)
            note(f"lfv: its report is not written; `lfv report {run_id[:8]}` writes it")
            return summary
    except StoreError:
        return None


class _Watcher:
    """Shows the progress of a run, and notes whether it may be recorded."""

    def __init__(self) -> None:
        self.activity = Activity("inspect", quiet=True)
        self.may_be_recorded = False
        self.run_id: str | None = None

    def __call__(self, step: Progress) -> None:
        self.may_be_recorded = True
        self.run_id = step.run_id or self.run_id
        if step.total is not None:
            self.activity.count(step.done, step.total)
            if step.phase == "detect":
                self.activity.show("detecting anomalies")
        elif step.text:
            self.activity.show(step.text)
