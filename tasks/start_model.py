"""The step that starts the model."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from lfv.run.hosting.hold import ModelHold


@task(name="start-model", task_run_name="start model", cache_policy=NO_CACHE, persist_result=False)
def start_model(hold: ModelHold) -> bool:
    """Wait until the model is hosted; return whether it was started outside lfv."""
    hold.acquire()
    return hold.adopted
