"""A run whose results database is behind PgBouncer in transaction mode."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.inspect_images import inspect_images
from lfv_store import open_store
from tests.support.databases import PostgresServer
from tests.support.endpoints import Endpoint
from tests.support.pictures import make_pictures
from tests.support.pooler import pooled


@pytest.fixture
def pooled_url(postgresql_server: PostgresServer) -> Iterator[str]:
    """A new database, not migrated, through the pooler."""
    with postgresql_server.database(migrated=False) as url, pooled(url) as address:
        yield address


@pytest.mark.usefixtures("home")
def test_a_whole_run_through_a_pooler(
    images: Path, endpoint: Endpoint, pooled_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_pictures(images, 60, first=100)
    monkeypatch.setenv("LFV_DATABASE_URL", pooled_url)
    monkeypatch.setenv("LFV_BATCH_SIZE", "5")
    open_store(pooled_url, migrate=True).close()
    first = inspect_images(source=str(images), project="parts")
    second = inspect_images(source=str(images), project="parts")
    assert (first.status, second.status) == ("completed", "completed")
    assert (first.counts.errors, first.counts.pending) == (0, 0)
    assert second.counts.reused == first.counts.total == 72
    assert endpoint.status == "TRAINED"
    with open_store(pooled_url) as store:
        found = store.audit.verify()
        assert found.ok, found
        assert [run.status for run in store.runs.list()] == ["completed"] * 2
