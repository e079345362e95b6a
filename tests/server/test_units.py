"""The processes of inference units: none remains, however they end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from botocore.exceptions import BotoCoreError

from lfv.server.hosting.unit import Unit, UnitSpec
from lfv.server.options import Limits, Serving
from tests.support.service import (
    FAKE_ENGINE,
    ROOT,
    Service,
    detect,
    host,
    is_gone,
    make_model,
    model_in,
    png,
)
from tests.support.unit_metrics import workers, workers_of
from tests.support.waiting import PLENTY, wait_until


@pytest.fixture
def held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> UnitSpec:
    """A unit whose model doesn't load before a file named ``may-load`` exists."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    artifact = tmp_path / "home" / "models" / "id" / "artifact"
    artifact.mkdir(parents=True)
    document = {"size": [64, 64], "types": [], "refs": "heldload"}
    (artifact / "model.json").write_text(json.dumps(document))
    return UnitSpec(artifact, FAKE_ENGINE, Limits(), Serving())


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("steps", [0, 1, 2, 3, 5, 8])
def test_a_cancelled_start_leaves_no_process(held: UnitSpec, steps: int, times: int) -> None:
    """At any step of the event loop, also if cancelled twice."""

    async def start_and_give_up() -> list[int]:
        task = asyncio.create_task(Unit.start(held))
        for _ in range(steps):
            await asyncio.sleep(0)
        for _ in range(times):
            task.cancel()
            await asyncio.sleep(0)
        with suppress(asyncio.CancelledError):
            await task
        return workers_of(os.getpid())

    assert asyncio.run(start_and_give_up()) == []


def test_a_start_cancelled_while_loading_leaves_no_process(held: UnitSpec) -> None:
    async def start_and_give_up() -> list[int]:
        task = asyncio.create_task(Unit.start(held))
        while not workers_of(os.getpid()):
            await asyncio.sleep(0.01)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        return workers_of(os.getpid())

    assert asyncio.run(start_and_give_up()) == []


def test_a_unit_uses_a_process_that_was_launched_ahead(held: UnitSpec) -> None:
    (held.artifact.parents[2] / "may-load").touch()

    async def start_two() -> tuple[list[int], list[int], list[int]]:
        spare = await Unit.launch(held.engine)
        launched = workers_of(os.getpid())
        unit = await Unit.start(held, spare)
        used = workers_of(os.getpid())
        await unit.close(at_once=True)
        again = await Unit.start(held, spare)  # it has ended
        after = workers_of(os.getpid())
        await again.close(at_once=True)
        return launched, used, after

    launched, used, after = asyncio.run(start_two())
    assert launched == used
    assert len(after) == 1
    assert after != used
    assert workers_of(os.getpid()) == []


def test_no_unit_remains_of_a_stopped_model(start: Callable[..., Service]) -> None:
    service = start()
    client = service.client()
    make_model(client, service, "p", order="heldload")
    for _ in range(8):
        client.start_model(ProjectName="p", ModelVersion="1", MinInferenceUnits=4)
        client.stop_model(ProjectName="p", ModelVersion="1")
        model_in(client, "p", "TRAINED")
        assert workers(service) == []


def test_busy_unit_ends_with_a_killed_service(start: Callable[..., Service]) -> None:
    service = start()
    client = service.client()
    make_model(client, service, "p")
    host(client, "p")
    (unit,) = workers(service)

    def ask() -> None:
        with suppress(BotoCoreError):
            detect(client, "p", png(order="hang"))

    with ThreadPoolExecutor(1) as pool:
        pool.submit(ask)
        wait_until(lambda: _is_in_hand(service), what="the request")
        service.stop(signal.SIGKILL)
    wait_until(lambda: is_gone(unit), "the end of the unit")


def test_loading_unit_ends_with_a_killed_service(start: Callable[..., Service]) -> None:
    service = start()
    client = service.client()
    make_model(client, service, "p", order="heldload")
    client.start_model(ProjectName="p", ModelVersion="1", MinInferenceUnits=1)
    (unit,) = wait_until(lambda: workers(service))
    service.stop(signal.SIGKILL)
    wait_until(lambda: is_gone(unit), "the end of the unit")


def _is_in_hand(service: Service) -> bool:
    with urllib.request.urlopen(f"{service.url}/health", timeout=PLENTY) as answer:
        return any(model["in_hand"] for model in json.load(answer)["hosted"])
