"""Housekeeping as a flow: deletes old reports, pictures and flow runs."""

# No postponed annotations here; see flows/inspect_images.py.

from datetime import UTC, datetime, timedelta
from typing import Annotated
from uuid import UUID

from prefect import flow, get_run_logger
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterEndTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import TERMINAL_STATES
from pydantic import Field

from flows.blocks import settings_of_blocks
from flows.naming import deployment_trigger
from lfv.run.prune import Pruning, delete_old, find_old, shown_lines
from lfv_store import open_store

_FLOWS = ["inspect-images", "resume-inspection", "stop-idle-models", "prune"]
_TOGETHER = 200


@flow(name="prune", persist_result=False)
def prune(
    older_than_days: Annotated[float, Field(gt=0)] = 90.0,
    flow_runs: bool = True,
    dry_run: bool = True,
    store_block: str = "",
) -> Pruning:
    """Delete old files that can be recreated; rows of the results database are kept.

    Args:
        older_than_days: Minimum age in days: of reports and flow runs since the run ended, of
            pictures of `lfv ui` since someone last looked at them.
        flow_runs: Also delete this product's flow runs and their artifacts from Prefect's
            database.
        dry_run: Only report what would be deleted.
        store_block: Name of the Lfv Store block for the results; empty for the worker's own
            settings.
    """
    logger = get_run_logger()
    settings = settings_of_blocks(store_block)
    by = deployment_trigger() or "prune"
    with open_store(settings.store_url) as store:
        found = find_old(settings, store, older_than_days)
        for line in shown_lines(found):
            logger.info("%s", line)
        if not dry_run:
            delete_old(settings, store, found, by)
        removed = _prune_flow_runs(older_than_days, dry_run=dry_run) if flow_runs else 0
        if removed and not dry_run:
            store.prunings.record(by, "flow-runs", older_than_days=older_than_days, number=removed)
    logger.info(
        "%s %d reports and %d pictures with %.1f MB, and %d flow runs",
        "would delete" if dry_run else "deleted",
        len(found.reports),
        found.pictures.number,
        found.size_bytes / 1e6,
        removed,
    )
    return found


def _delete_artifacts(client: SyncPrefectClient, flow_runs: list[UUID]) -> None:
    """Delete the artifacts of flow runs, which Prefect would keep without them."""
    theirs = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=flow_runs))
    while artifacts := client.read_artifacts(artifact_filter=theirs, limit=_TOGETHER):
        for artifact in artifacts:
            client.delete_artifact(artifact.id)


def _prune_flow_runs(older_than_days: float, *, dry_run: bool) -> int:
    """Delete this product's flow runs of that age; return their number (dry: of one page)."""
    before = datetime.now(UTC) - timedelta(days=older_than_days)
    ended = FlowRunFilter(
        end_time=FlowRunFilterEndTime.model_validate({"before_": before}),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(TERMINAL_STATES))),
    )
    ours = FlowFilter(name=FlowFilterName(any_=_FLOWS))
    removed = 0
    with get_client(sync_client=True) as client:
        while True:
            page = client.read_flow_runs(
                flow_filter=ours,
                flow_run_filter=ended,
                limit=_TOGETHER,
                offset=removed if dry_run else 0,
            )
            if not dry_run:
                _delete_artifacts(client, [one.id for one in page])
                for flow_run in page:
                    client.delete_flow_run(flow_run.id)
            removed += len(page)
            if len(page) < _TOGETHER:
                return removed
