"""Stopping a model that other processes stop and start, too."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import UTC, datetime, timedelta

import pytest

from lfv.client.hosts import ModelState, Units
from lfv.formats.status import ModelStatus
from lfv.run.hosting.release import stop_hosting
from lfv_store import Store
from tests.support.fake_model import FakeModel, FakeModelHost
from tests.support.store_samples import LEASE, a_model, a_run


class Contested(FakeModelHost):
    """A run whose lease expired sees the model stopped first, and starts it again."""

    def __init__(self, model: FakeModel, store: Store, hosting_id: int) -> None:
        super().__init__(model)
        self._store = store
        self._hosting_id = hosting_id

    def stop(self, client_token: str) -> ModelState:
        state = super().stop(client_token)
        self.model.describe()  # stopped
        self._store.hostings.mark_stopped(self._hosting_id, datetime.now(UTC))
        self.model.start(Units(1), "next-hosting")
        return state


def test_a_sweeper_leaves_a_model_that_its_run_has_started_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise it stops the model until the run gives up, because it never sees it down."""
    model_id = a_model(store)
    lease = store.leases.acquire(
        model_id, a_run(store, model_id), **{**LEASE, "ttl": timedelta(microseconds=1)}
    )
    store.hostings.mark_hosted(lease.hosting_id, datetime.now(UTC))
    (hosting,) = store.hostings.claim_sweepable(by="sweeper")
    model = FakeModel(status=ModelStatus.HOSTED)
    host = Contested(model, store, hosting.hosting_id)
    monkeypatch.setattr("lfv.run.hosting.release.reopen_host", lambda _: nullcontext(host))
    assert stop_hosting(store, hosting, deadline_seconds=60)
    assert model.status is ModelStatus.HOSTED
    assert model.count("StopModel") == 1
