"""A run on a model that another run also uses."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from flows.inspect_images import inspect_images
from lfv_store import NewRun, Store
from tests.support.endpoints import Endpoint


def test_a_model_stopped_by_hand_during_two_runs_is_started_once_and_shared(
    images: Path, endpoint: Endpoint, store: Store
) -> None:
    first = inspect_images(source=str(images), project="parts")
    (hosting,) = store.hostings.list()
    other = store.runs.start(
        NewRun(
            run_id="11111111-2222-3333-4444-555555555555",
            project_name="parts",
            model_version="1",
            host="lookoutvision",
            source=str(images),
            policy=store.runs.get(first.run_id).policy,
            started_at=datetime.now(UTC),
            model_id=hosting.model_id,
        )
    )
    lease = store.leases.acquire(
        hosting.model_id,
        other.run_id,
        host_spec=hosting.host_spec,
        units=(1, None),
        price_per_unit_hour=0.0,
        ttl=timedelta(minutes=5),
        already_hosted=False,
    )
    store.hostings.mark_hosted(lease.hosting_id, datetime.now(UTC))
    assert endpoint.status == "TRAINED"  # somebody stopped it by hand

    summary = inspect_images(source=str(images), project="parts", again=True)

    assert (summary.status, summary.counts.pending, summary.counts.errors) == ("completed", 0, 0)
    assert len(endpoint.calls("StartModel")) == 2
    assert endpoint.status == "HOSTED"  # the other run still holds it
    assert store.hostings.get(lease.hosting_id).status == "hosted"
    assert store.leases.release(lease.lease_id)
