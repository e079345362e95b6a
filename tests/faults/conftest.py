"""Faults in real processes: runs, guards, a Prefect server, an endpoint."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from sqlalchemy import make_url

from tests.support.endpoints import HOSTS, Endpoint, endpoint_in_process
from tests.support.launcher import Launcher, launcher_in
from tests.support.prefect_server import PrefectServer, prefect_server
from tests.support.proxy import Proxy, proxy_to
from tests.support.scene import Scene, scene_in

KINDS = ["sqlite", "postgresql"]
BY_TURNS = "by turns"


@pytest.fixture(scope="session")
def prefect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    """The session's Prefect server."""
    with prefect_server(tmp_path_factory.mktemp("prefect")) as server:
        yield server


@pytest.fixture(scope="session")
def launcher(
    prefect: PrefectServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Launcher]:
    """Starts `lfv` commands, which report to the session's Prefect server."""
    with launcher_in(tmp_path_factory.mktemp("commands"), prefect.environment) as launcher:
        yield launcher


@pytest.fixture
def host_of_test(request: pytest.FixtureRequest) -> str:
    """The kind of host whose stand-in the test runs on; see `pytest_generate_tests`."""
    return str(getattr(request, "param", HOSTS[0]))


@pytest.fixture
def endpoint(tmp_path: Path, host_of_test: str) -> Iterator[Endpoint]:
    with endpoint_in_process(tmp_path, host_of_test) as endpoint:
        yield endpoint


@pytest.fixture
def database_of_test(request: pytest.FixtureRequest, host_of_test: str) -> str:
    """URL of a fresh database; see `pytest_generate_tests`."""
    kind = request.param
    if kind == BY_TURNS:
        test = request.node.name.replace(host_of_test, "")
        kind = KINDS[(zlib.crc32(test.encode()) + HOSTS.index(host_of_test)) % len(KINDS)]
    url: str = request.getfixturevalue(f"{kind}_url")
    return url


@pytest.fixture
def scene(
    tmp_path: Path, launcher: Launcher, endpoint: Endpoint, database_of_test: str
) -> Iterator[Scene]:
    """A manifest of 24 images and a model that takes 50 ms for each."""
    endpoint.script(detect_seconds=0.05)
    with scene_in(tmp_path / "scene", launcher, endpoint, database_of_test) as scene:
        yield scene


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Choose the databases and kinds of host of each test.

    Tests alternate between the databases, unless --both-databases or the mark both_databases is
    set. Tests with the mark every_host run on each kind of host; with --every-host, all tests do.
    """
    if "host_of_test" in metafunc.fixturenames:
        own = any(
            "host_of_test" in mark.args[0]
            for mark in metafunc.definition.iter_markers("parametrize")
        )
        every = metafunc.config.getoption("--every-host") and not own
        if every or metafunc.definition.get_closest_marker("every_host") is not None:
            metafunc.parametrize("host_of_test", HOSTS, indirect=True)
    if "database_of_test" in metafunc.fixturenames:
        both = metafunc.config.getoption("--both-databases")
        marked = metafunc.definition.get_closest_marker("both_databases") is not None
        metafunc.parametrize(
            "database_of_test", KINDS if both or marked else [BY_TURNS], indirect=True
        )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without --every-host, the variants of a test marked by_turns take turns on the hosts."""
    if config.getoption("--every-host"):
        return
    tests: dict[str, list[tuple[pytest.Item, tuple[int, ...], int]]] = {}
    for item in items:
        mark = item.get_closest_marker("every_host")
        if mark is None or not mark.kwargs.get("by_turns"):
            continue
        callspec = cast("Any", item).callspec
        indices = dict(callspec.indices)
        host = indices.pop("host_of_test")
        indices.pop("database_of_test", None)
        test = item.nodeid.partition("[")[0]
        tests.setdefault(test, []).append((item, tuple(indices.values()), host))
    left_out = set()
    for made in tests.values():
        variants = sorted({variant for _, variant, _ in made})
        turns = min(len(HOSTS), len(variants))
        left_out |= {
            item for item, variant, host in made if (variants.index(variant) - host) % turns
        }
    if left_out:
        config.hook.pytest_deselected(items=list(left_out))
        items[:] = [item for item in items if item not in left_out]


@pytest.fixture
def scene_on_sqlite(
    tmp_path: Path, launcher: Launcher, endpoint: Endpoint, sqlite_url: str
) -> Iterator[Scene]:
    """The same, on SQLite."""
    endpoint.script(detect_seconds=0.05)
    with scene_in(tmp_path / "scene", launcher, endpoint, sqlite_url) as scene:
        yield scene


@pytest.fixture
def database_proxy(postgresql_url: str) -> Iterator[Proxy]:
    """The connection from runs to PostgreSQL, which can be cut."""
    url = make_url(postgresql_url)
    with proxy_to(url.host or "127.0.0.1", url.port or 5432) as proxy:
        yield proxy


@pytest.fixture
def scene_on_postgresql(
    tmp_path: Path,
    launcher: Launcher,
    endpoint: Endpoint,
    postgresql_url: str,
    database_proxy: Proxy,
) -> Iterator[Scene]:
    """The same, on PostgreSQL, with a connection that can be cut."""
    endpoint.script(detect_seconds=0.05)
    with scene_in(tmp_path / "scene", launcher, endpoint, postgresql_url) as scene:
        url = make_url(postgresql_url).set(host="127.0.0.1", port=database_proxy.port)
        scene.environment["LFV_DATABASE_URL"] = url.render_as_string(hide_password=False)
        yield scene
