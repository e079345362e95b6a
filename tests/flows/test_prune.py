"""The flow `prune` on a Prefect server deletes our reports and flow runs, nothing else."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import ObjectNotFound

from flows.inspect_images import inspect_images
from flows.prune import prune
from lfv_store import Store

#: Everything that has ended by now; the flow refuses zero.
NOW = 1e-9


@flow(name="somebody-else-s")
def other() -> str:
    from prefect import runtime

    return str(runtime.flow_run.id)


def flow_run(flow_run_id: str | None) -> FlowRun | None:
    with get_client(sync_client=True) as client:
        try:
            return client.read_flow_run(flow_run_id)  # type: ignore[arg-type]
        except ObjectNotFound:
            return None


def artifacts(flow_run_id: str | None) -> list[str | None]:
    theirs = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[UUID(flow_run_id)]))
    with get_client(sync_client=True) as client:
        return [one.key for one in client.read_artifacts(artifact_filter=theirs)]


def test_old_files_are_first_listed_then_deleted(images: Path, home: Path, store: Store) -> None:
    summary = inspect_images(source=str(images), project="parts")
    theirs = other()
    ours = store.runs.get(summary.run_id).flow_run_id
    report = home / "runs" / summary.run_id / "report.html"

    found = prune(older_than_days=NOW)
    assert [one.run_id for one in found.reports] == [summary.run_id]
    assert found.size_bytes == report.stat().st_size
    assert flow_run(ours) is not None

    assert prune(older_than_days=365, dry_run=False).reports == ()
    assert report.exists()
    assert flow_run(ours) is not None

    prune(older_than_days=NOW, dry_run=False, flow_runs=False)
    assert not report.exists()
    assert flow_run(ours) is not None

    assert artifacts(ours) != []
    prune(older_than_days=NOW, dry_run=False)
    assert flow_run(ours) is None
    assert artifacts(ours) == []
    assert flow_run(theirs) is not None
    assert store.inspections.counts(summary.run_id).total == 12
    recorded = [one.subject for one in store.audit.entries() if one.action == "pruned"]
    assert recorded == ["reports", "flow-runs"]


def test_a_negative_age_is_refused(home: Path) -> None:
    with pytest.raises(Exception, match="older_than_days"):
        prune(older_than_days=-1)
