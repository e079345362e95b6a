"""The step that finds the model and records the run."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from lfv.run.context import InspectionRequest, NewLimits, RunContext
from lfv.run.start import RunStarter


@task(name="find-model", task_run_name="find model", cache_policy=NO_CACHE, persist_result=False)
def find_model(
    starter: RunStarter,
    request: InspectionRequest | None,
    resume: str | None = None,
    limits: NewLimits | None = None,
) -> RunContext:
    """Start a run for a request, or resume a run, optionally with new limits."""
    if resume is not None:
        return starter.resume(resume, limits)
    if request is None:
        raise ValueError("give either a request or a run to resume")
    return starter.start(request)
