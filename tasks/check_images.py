"""The step that checks manifest lines and their images."""

from __future__ import annotations

from collections.abc import Sequence

from prefect import task
from prefect.cache_policies import NO_CACHE

from lfv.formats.manifest.records import BadLine, ManifestItem
from lfv.run.active import ActiveRun
from lfv.run.new_images import NewObject
from lfv.run.plan import plan_lines


@task(
    name="check-images",
    task_run_name="check lines {first_line}-{last_line}",
    cache_policy=NO_CACHE,
    persist_result=False,
)
def check_images(
    run: ActiveRun,
    lines: Sequence[ManifestItem | BadLine],
    first_line: int,  # noqa: ARG001 - shown in the task run's name
    last_line: int,  # noqa: ARG001
    objects: Sequence[NewObject] | None = None,
) -> None:
    """Check a batch of manifest lines without calling the model, and claim new images.

    `objects`: the new images, in a run that inspects nothing else.
    """
    plan_lines(run, lines, objects)
