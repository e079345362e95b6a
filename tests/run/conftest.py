"""A store for runs on a model in memory."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lfv_store import Store, open_store


@pytest.fixture
def store(sqlite_url: str) -> Iterator[Store]:
    with open_store(sqlite_url) as opened:
        yield opened
