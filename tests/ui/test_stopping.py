"""The stop button, with a model that is up at an endpoint."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lfv.client.hosts import HostSpec, Units, open_host
from lfv_store import ModelKey
from tests.support.endpoints import endpoint_in_thread
from tests.support.store_samples import LEASE
from tests.support.ui import RUN_ID, scene, served
from tests.support.waiting import wait_until


@pytest.mark.parametrize("stored_by", ["this release", "0.1.0"])
def test_a_model_that_is_up_is_stopped_from_its_page(
    stored_by: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    with (
        endpoint_in_thread() as endpoint,
        scene(tmp_path / "home", reviews=1) as place,
    ):
        spec = HostSpec("lookoutvision", "parts", "1", endpoint.url, "us-east-1")
        host = open_host(spec)
        host.start(Units(), "a-token")
        wait_until(lambda: endpoint.status == "HOSTED")
        state = host.describe()
        host.close()
        key = ModelKey("lookoutvision", state.model_arn, "parts", "1", state.created_at)
        model = place.store.models.register(key)
        stored = replace(spec, run_id=RUN_ID).to_dict()
        if stored_by == "0.1.0":
            del stored["embedded_home"]
            stored["options"] = {"run_id": stored.pop("run_id"), "max_connections": 8}
        lease = place.store.leases.acquire(model, RUN_ID, **{**LEASE, "host_spec": stored})
        place.store.hostings.mark_hosted(lease.hosting_id, datetime.now(UTC))
        with served(place) as mara:
            page = mara.get(f"/models/{model}").text
            assert f'action="/models/{model}/stop"' in page
            in_use = mara.post(f"/models/{model}/stop")
            assert in_use.status_code == 409
            assert "Model parts version 1 is used by 1 run" in in_use.json()["error"]
            assert endpoint.status == "HOSTED"
            stopped = mara.post(f"/models/{model}/stop", force="yes")
            assert stopped.status_code == 303, stopped.text
            assert endpoint.status == "TRAINED"
            assert place.store.hostings.open() == []
            assert f'action="/models/{model}/stop"' not in mara.get(f"/models/{model}").text
        (entry,) = [one for one in place.store.audit.entries() if one.action == "hosting.stopped"]
        assert entry.actor == "lfv ui (mara)"
