"""A store for runs on a model in memory."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from lfv.run.context import RunContext
from lfv_store import Lease, Store, open_store


@pytest.fixture
def store(sqlite_url: str) -> Iterator[Store]:
    with open_store(sqlite_url) as opened:
        yield opened


@pytest.fixture
def lease(store: Store, context: RunContext) -> Lease:
    """A lease of the run of the module's fixture `context`."""
    return store.leases.acquire(
        context.model_id,
        context.run_id,
        host_spec={},
        units=(1, None),
        price_per_unit_hour=4.0,
        ttl=timedelta(minutes=10),
        already_hosted=False,
    )
