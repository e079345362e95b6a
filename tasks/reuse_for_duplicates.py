"""The step that reuses one answer for identical images."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from lfv.run.active import ActiveRun
from lfv.run.duplicates import reuse_answers


@task(
    name="reuse-answers",
    task_run_name="reuse answers for equal images",
    cache_policy=NO_CACHE,
    persist_result=False,
)
def reuse_for_duplicates(run: ActiveRun) -> int:
    """Record identical images of the run with the one answer that they share."""
    return reuse_answers(run)
