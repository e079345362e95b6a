"""The same job with the model behind an edge agent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.inspect_images import inspect_images
from lfv.client.catalog import model_entries
from lfv.client.errors import HostUnreachable
from lfv.run.hosting.stop import stop_model
from lfv.run.hosting.sweep import sweep
from lfv.settings import get_settings
from lfv_store import Store
from tests.support.endpoints import Endpoint, endpoint_in_thread


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with endpoint_in_thread("edge") as endpoint:
        yield endpoint


@pytest.fixture
def home(home: Path, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, value in endpoint.environment.items():
        monkeypatch.setenv(name, value)
    return home


@pytest.mark.parametrize("shared_memory", ["false", "true"])
def test_every_image_gets_its_record_and_the_model_is_stopped(
    images: Path, endpoint: Endpoint, store: Store, shared_memory: str
) -> None:
    summary = inspect_images(
        source=str(images), project="parts", host_options={"shared_memory": shared_memory}
    )
    assert summary.status == "completed"
    assert (summary.counts.total, summary.counts.pending, summary.counts.errors) == (12, 0, 0)
    assert summary.model_version == "1"
    assert len(endpoint.calls("StartModel", "ok")) == len(endpoint.calls("StopModel", "ok")) == 1
    assert endpoint.status == "TRAINED"
    (hosting,) = store.hostings.list()
    assert (hosting.status, hosting.price_per_unit_hour) == ("stopped", 0.0)
    assert sweep(store, get_settings()).clean


def test_a_model_that_somebody_else_started_is_left_running(
    images: Path, endpoint: Endpoint, store: Store
) -> None:
    endpoint.script(hosted=True)
    assert inspect_images(source=str(images), project="parts").status == "completed"
    assert endpoint.status == "HOSTED"
    (entry,) = model_entries(endpoint.address, host="edge")
    assert (entry.project, entry.version) == ("parts", "1")
    assert model_entries(endpoint.address, host="edge", project="others") == []
    stopped = stop_model(get_settings(), "parts", actor="a test")
    assert stopped.was_hosted
    assert endpoint.status == "TRAINED"


def test_a_missing_agent_ends_the_run_at_once(
    images: Path, store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LFV_ENDPOINT_URL", f"unix://{tmp_path}/none.sock")
    with pytest.raises(HostUnreachable, match="There is no edge agent"):
        inspect_images(source=str(images), project="parts")
    assert store.hostings.list() == []
