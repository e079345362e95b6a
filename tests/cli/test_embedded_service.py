"""Finding or starting the embedded service."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from lfv.client.api import lookoutvision_client
from lfv.run.embedded_service import ServicePlaces, embedded_service
from lfv.run.errors import ServiceNotStarted
from lfv.settings import get_settings, keep_local_traffic_off_proxies
from tests.support.service import Service, running


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A service on the folder where commands look for one, as `lfv serve` starts it."""
    home = tmp_path / "service"
    with running(home, home=str(home)) as started:
        yield started


def test_a_service_that_does_not_answer_is_left_alone(service: Service, tmp_path: Path) -> None:
    """It may be suspended or slow: its file stays, and it is used once it responds."""
    assert service.process is not None
    ready_file = ServicePlaces(tmp_path / "service").ready_file
    announced = ready_file.read_bytes()
    service.process.send_signal(signal.SIGSTOP)
    try:
        impatient = get_settings(home=tmp_path, service_start_seconds=0.1)
        with (
            pytest.raises(ServiceNotStarted, match="is running but does not answer"),
            embedded_service(impatient),
        ):
            pass
        assert ready_file.read_bytes() == announced
    finally:
        service.process.send_signal(signal.SIGCONT)
    with embedded_service(get_settings(home=tmp_path)) as endpoint_url:
        assert endpoint_url == service.url


def test_a_killed_service_is_replaced(service: Service, tmp_path: Path) -> None:
    assert service.process is not None
    service.process.kill()
    service.process.wait()
    ready_file = ServicePlaces(tmp_path / "service").ready_file
    assert json.loads(ready_file.read_bytes())["pid"] == service.process.pid
    with embedded_service(get_settings(home=tmp_path)) as endpoint_url:
        assert lookoutvision_client(endpoint_url).list_projects()["Projects"] == []
        assert json.loads(ready_file.read_bytes())["pid"] != service.process.pid


def test_no_proxy_is_used_for_this_machine(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proxy of this test refuses every connection."""
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with embedded_service(get_settings(home=tmp_path)) as endpoint_url:
        assert endpoint_url == service.url
        assert lookoutvision_client(endpoint_url).list_projects()["Projects"] == []


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, "localhost,127.0.0.1,::1"),
        ("intranet", "intranet,localhost,127.0.0.1,::1"),
        ("*", "*"),
    ],
)
def test_hosts_without_a_proxy(
    given: str | None, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "")  # records the value that is restored at the end
        monkeypatch.delenv(name)
    if given is not None:
        monkeypatch.setenv("NO_PROXY", given)
    keep_local_traffic_off_proxies()
    assert os.environ["NO_PROXY"] == expected
