"""`lfv sweep` checks the same hosts as the other commands."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.service import Service, host, make_model, model_in, running

if TYPE_CHECKING:
    from tests.cli.conftest import Lfv


@pytest.fixture
def service(home: Path) -> Iterator[Service]:
    """A service as `lfv serve` starts it, with a model that somebody has hosted."""
    folder = home / "service"
    with running(folder, home=str(folder)) as started:
        client = started.client()
        make_model(client, started, "flange")
        host(client, "flange")
        yield started


def test_a_model_of_the_service_on_this_machine_is_found(lfv: Lfv, service: Service) -> None:
    found = lfv("sweep", "--json")
    assert found.status == 1
    (model,) = found.json()["unknown"]
    assert (model["project"], model["status"], model["stopped"]) == ("flange", "HOSTED", False)
    assert model["endpoint_url"] == service.url
    assert "known to no run" in lfv("sweep").err
    stopped = lfv("sweep", "--stop-unknown")
    assert stopped.status == 0
    assert model_in(service.client(), "flange", "TRAINED")
    assert lfv("sweep").status == 0


def test_a_service_that_does_not_respond_is_not_skipped(
    lfv: Lfv, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert service.process is not None
    monkeypatch.setenv("LFV_SERVICE_START_SECONDS", "0.1")
    service.process.send_signal(signal.SIGSTOP)
    try:
        outcome = lfv("sweep", "--json")
    finally:
        service.process.send_signal(signal.SIGCONT)
    assert outcome.status == 1
    (place,) = outcome.json()["unreachable"]
    assert "does not answer" in place


def test_a_sweep_starts_no_service(lfv: Lfv, home: Path) -> None:
    outcome = lfv("sweep", "--json")
    assert outcome.status == 0
    assert json.loads(outcome.out)["clean"] is True
    assert not (home / "service").exists()
