"""An open store on each database: empty, or full and about to be tampered with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from lfv_store import Store, open_store
from tests.support.databases import PostgresServer
from tests.support.tampering import fill


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    with open_store(database_url) as opened:
        yield opened


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def full(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Store]:
    """A store with rows in every audited table, and an intact audit log. All tampering is
    undone."""
    with ExitStack() as stack:
        if request.param == "sqlite":
            url = f"sqlite:///{tmp_path_factory.mktemp('full') / 'store.db'}"
        else:
            server: PostgresServer = request.getfixturevalue("postgresql_server")
            url = stack.enter_context(server.database())
        store = stack.enter_context(open_store(url))
        fill(store)
        report = store.audit.verify()
        assert report.ok, report.problems
        yield store
        report = store.audit.verify()
        assert report.ok, report.problems
