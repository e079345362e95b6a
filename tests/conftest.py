"""Fixtures that every part's tests may use."""

from __future__ import annotations

import os
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from tests.support.databases import (  # noqa: F401  (fixtures and an option for every part)
    database_url,
    postgresql_server,
    postgresql_url,
    pytest_addoption,
    sqlite_url,
)
from tests.support.encoded import make_image

pytest_plugins = ["tests.support.fault_options"]

# The suite starts hundreds of processes. They share compiled code, whatever the shell sets: without
# it, importing Prefect takes twice the time.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

SAMPLE_DATA = Path(__file__).parents[2] / "shared" / "data"


def skip_or_fail(reason: str) -> None:
    """Skip the test because something is missing here; in CI, fail it."""
    if os.environ.get("CI"):
        pytest.fail(f"may not be skipped in CI: {reason}", pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def sample_data() -> Path:
    """The folder with the sample images (cookies/, aliens/)."""
    if not SAMPLE_DATA.is_dir():
        skip_or_fail("the sample images are not here: ../shared/data does not exist")
    return SAMPLE_DATA


@pytest.fixture(scope="session")
def png() -> bytes:
    """A PNG file of 64x64 pixels."""
    return make_image()


@pytest.fixture(scope="session")
def jpeg() -> bytes:
    """A JPEG file of 80x64 pixels."""
    return make_image("JPEG", (80, 64))


#: Seconds that a test takes because of a fixture, such as one that starts a Prefect server.
_SECONDS = {"launcher": 12, "applied": 5, "prefect_api": 4, "start": 3, "lfv_process": 3}


def _seconds(item: pytest.Item) -> float:
    """Estimate how long a test takes."""
    if item.get_closest_marker("slow"):
        return 15
    return max((_SECONDS.get(name, 0.1) for name in getattr(item, "fixturenames", ())), default=0.1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs PostgreSQL, so that `make check` can leave it out; put slow files first.

    Workers run whole files, so one that takes minutes would delay the end if it started last.
    """
    seconds: defaultdict[Path, float] = defaultdict(float)
    for item in items:
        seconds[item.path] += _seconds(item)
    items.sort(key=lambda item: (-seconds[item.path], item.path))
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        parameters = getattr(getattr(item, "callspec", None), "params", {}).values()
        needed = {"postgresql_server", "postgresql_url"} & fixtures
        if needed or any(value == "postgresql" for value in parameters):
            item.add_marker(pytest.mark.postgresql)
