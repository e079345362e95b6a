"""The step that runs detection."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from lfv.run.active import ActiveRun
from lfv.run.context import RunContext
from lfv.run.detection.detect import DetectedBatch, PendingBatch, detect_batch


@task(
    name="detect-anomalies",
    task_run_name="detect lines {first_line}-{last_line}",
    cache_policy=NO_CACHE,
    persist_result=False,
)
def detect_anomalies(
    run: ActiveRun | RunContext,
    batch: PendingBatch,
    first_line: int,  # noqa: ARG001 - shown in the task run's name
    last_line: int,  # noqa: ARG001
) -> DetectedBatch:
    """Run detection on a batch of images and store each answer as it arrives."""
    return detect_batch(run, batch.items, batch.stop)
