"""Flows are tested against Prefect's real engine and a real endpoint's wire format."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lfv_store import Store, open_store
from tests.support.databases import fresh_sqlite
from tests.support.endpoints import Endpoint, endpoint_in_thread
from tests.support.forked_guards import fork_guards, guard_forks
from tests.support.forks import Forks
from tests.support.pictures import make_pictures
from tests.support.prefect_server import with_tables
from tests.support.processes import free_port

# Without the events that the page shows, a hundred flow runs take a quarter of the time.
_PREFECT = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_TRIGGERS_ENABLED": "false",
    "PREFECT_LOGGING_TO_API_ENABLED": "false",
    "PREFECT_LOGGING_LEVEL": "ERROR",
}


@pytest.fixture(scope="session")
def prefect_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """This session's Prefect server."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_HOME", str(tmp_path_factory.mktemp("prefect")))
        for name, value in _PREFECT.items():
            patch.setenv(name, value)
        from prefect.testing.utilities import prefect_test_harness

        made = with_tables(tmp_path_factory.mktemp("harness"), "prefect-test.db")
        patch.setattr("prefect.testing.utilities.mkdtemp", lambda: str(made))
        # Prefect lets the kernel choose a port, which a client may have taken before its server
        # binds it seconds later.
        patch.setattr("prefect.testing.utilities._find_available_port", free_port)
        with prefect_test_harness(server_startup_timeout=240):
            yield


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with endpoint_in_thread() as endpoint:
        yield endpoint


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder of twelve images."""
    folder = tmp_path / "images"
    make_pictures(folder, 12)
    return folder


@pytest.fixture(scope="session")
def forks_of_guards() -> Iterator[Forks]:
    with guard_forks() as forks:
        yield forks


@pytest.fixture
def guards(forks_of_guards: Forks, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test's runs use forked guards, which start in a tenth of the time."""
    fork_guards(forks_of_guards, monkeypatch)


@pytest.fixture
def home(
    tmp_path: Path,
    endpoint: Endpoint,
    monkeypatch: pytest.MonkeyPatch,
    prefect_api: None,
    guards: None,
) -> Path:
    """LFV_HOME of a run on `endpoint`."""
    folder = tmp_path / "home"
    monkeypatch.setenv("LFV_HOME", str(folder))
    monkeypatch.setenv("LFV_ENDPOINT_URL", endpoint.url)
    # Requests are counted, so none may be repeated because a busy machine answers late.
    monkeypatch.setenv("LFV_READ_TIMEOUT_SECONDS", "60")
    monkeypatch.setenv("LFV_LEASE_TTL_SECONDS", "6")
    monkeypatch.setenv("LFV_LEASE_HEARTBEAT_SECONDS", "1")
    return folder


@pytest.fixture
def few_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four requests in flight, so that a run is not done before a test ends it."""
    monkeypatch.setenv("LFV_REQUESTS_PER_UNIT", "4")


@pytest.fixture
def store(home: Path) -> Iterator[Store]:
    """The results database of `home`."""
    home.mkdir()
    with open_store(fresh_sqlite(home / "inspections.db")) as store:
        yield store


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Prefect leaves connections to its own server to the garbage collector, whose warnings would
    fail whichever test runs next."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("ignore::ResourceWarning"))
            item.add_marker(
                pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
            )
