"""Runs beyond a model's limit wait before the model is started for them."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client

from flows.inspect_images import inspect_images
from flows.run_slots import limit_name, place_at_model, set_limit
from lfv_store import Store
from tests.support.background import in_background
from tests.support.endpoints import Endpoint
from tests.support.waiting import PLENTY, wait_until

PROJECT = "parts"


@pytest.fixture
def deployment(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The context of a flow run that a deployment started."""
    known = str(uuid.uuid4())
    for module in ("run_slots", "prefect_variables"):
        monkeypatch.setattr(f"flows.{module}.deployment_id", lambda: known)
    monkeypatch.setattr("flows.naming.deployment_name", lambda: "operator")


def active() -> int:
    with get_client(sync_client=True) as client:
        return client.read_global_concurrency_limit_by_name(limit_name(PROJECT)).active_slots


def test_a_run_beyond_the_limit_waits_without_its_model(
    images: Path, endpoint: Endpoint, store: Store, deployment: None
) -> None:
    with get_client(sync_client=True) as client:
        assert set_limit(client, PROJECT, 1) == 1
        assert set_limit(client, PROJECT) == 1  # a limit that people set is kept
    with place_at_model(PROJECT):
        assert active() == 1
        run = in_background(lambda: inspect_images(source=str(images), project=PROJECT))
        wait_until(lambda: [one for one in store.runs.list() if one.manifest_lines])
        with pytest.raises(TimeoutError):
            run.result(3)
        assert endpoint.calls("StartModel") == []
    summary = run.result(PLENTY)
    assert (summary.status, summary.counts.pending) == ("completed", 0)
    assert active() == 0


def test_a_run_without_an_api_for_limits_continues(
    deployment: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise ConnectionError("no server")

    monkeypatch.setattr("flows.run_slots.set_limit", refuse)
    with place_at_model(PROJECT):
        pass


def test_an_error_of_the_run_is_not_hidden(deployment: None) -> None:
    with pytest.raises(ZeroDivisionError), place_at_model(PROJECT):
        raise ZeroDivisionError
    assert active() == 0
