"""The step that finds the model of a run."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from lfv.run.context import NewLimits, RunContext
from lfv.run.start import RunStarter
from lfv_store import Run


@task(name="find-model", task_run_name="find model", cache_policy=NO_CACHE, persist_result=False)
def find_model(starter: RunStarter, run: Run, limits: NewLimits | None = None) -> RunContext:
    """Find the model of a new or resumed run, optionally with new limits."""
    return starter.proceed(run, limits)
