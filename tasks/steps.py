"""The Prefect tasks of an inspection: one step each, thin.

Every task takes plain values and finds its connections itself (`lfv.run.context`).  Results are
not persisted and parameters not hashed: what has to last is in SQL, and a resumed run reads it
there.
"""

from __future__ import annotations

from collections.abc import Sequence

from prefect import task
from prefect.cache_policies import NO_CACHE

from lfv.formats.manifest.records import BadLine, ManifestItem
from lfv.run.connections import connections_of
from lfv.run.context import InspectionRequest, RunContext
from lfv.run.control import control_of
from lfv.run.detect import AskedBatch, ask_batch
from lfv.run.duplicates import reuse_answers
from lfv.run.hosting.hold import ModelHold
from lfv.run.plan import PlannedBatch, plan_lines
from lfv.run.report import RunSummary, report_run
from lfv.run.start import Beginning
from lfv.settings import Settings
from lfv_store import PendingItem, open_store


@task(name="find-model", task_run_name="find model", cache_policy=NO_CACHE, persist_result=False)
def find_model(
    request: InspectionRequest | None,
    resume: str | None,
    settings: Settings,
    endpoint_url: str | None,
    flow_run_id: str | None,
) -> RunContext:
    """The run, new or resumed, and the model version it asks."""
    with open_store(settings.store_url) as store:
        beginning = Beginning(store, settings, endpoint_url, flow_run_id)
        if resume is not None:
            return beginning.resume(resume)
        if request is None:
            raise ValueError("either a request or a run to resume")
        return beginning.begin(request)


@task(
    name="check-images",
    task_run_name="check lines {first_line}-{last_line}",
    cache_policy=NO_CACHE,
    persist_result=False,
)
def check_images(
    run: RunContext,
    lines: Sequence[ManifestItem | BadLine],
    first_line: int,  # noqa: ARG001 - shown in the task run's name
    last_line: int,  # noqa: ARG001
) -> PlannedBatch:
    """Check a batch of manifest lines, without the model."""
    found = connections_of(run)
    return plan_lines(run, found.store, found.reader, lines)


@task(name="start-model", task_run_name="start model", cache_policy=NO_CACHE, persist_result=False)
def start_model(run_id: str) -> bool:
    """Have the run's model hosted; whether somebody else had started it."""
    hold = control_of(run_id).hold
    if not isinstance(hold, ModelHold):
        raise TypeError("a model is started in the process that drives its run")
    hold.acquire()
    return hold.adopted


@task(
    name="detect-anomalies",
    task_run_name="detect lines {first_line}-{last_line}",
    cache_policy=NO_CACHE,
    persist_result=False,
)
def detect_anomalies(
    run: RunContext,
    items: Sequence[PendingItem],
    threads: int,
    first_line: int,  # noqa: ARG001 - shown in the task run's name
    last_line: int,  # noqa: ARG001
) -> AskedBatch:
    """Ask the model about a batch of images, and store each answer as it comes."""
    found = connections_of(run)
    return ask_batch(run, found.store, found.reader, found.host, items, threads=threads)


@task(
    name="reuse-answers",
    task_run_name="reuse answers for equal images",
    cache_policy=NO_CACHE,
    persist_result=False,
)
def reuse_for_duplicates(run: RunContext) -> int:
    """Give equal images of the run the answer that one of them got."""
    return reuse_answers(run, connections_of(run).store)


@task(name="report", task_run_name="report", cache_policy=NO_CACHE, persist_result=False)
def report(run: RunContext) -> RunSummary:
    """Write the run's report, and its summary and result table for the Prefect page."""
    found = connections_of(run)
    return report_run(run, found.store, found.reader)
