"""Flow runs that a worker left behind are ended, and runs that wait for them continue."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import ConcurrencyLimitConfig, FlowRun, State, StateType
from prefect.settings import get_current_settings
from prefect.states import Cancelled, Cancelling, Paused, Pending, Running

from lfv.cli.plant.left_runs import (
    HOLDING,
    cancel_runs,
    end_left_runs,
    end_runs,
    flow_run_processes,
)
from lfv.cli.plant.schedule import scheduled_runs
from lfv.cli.plant.server_api import ServerApi
from tests.support.waiting import PLENTY, wait_until


@flow
def nothing() -> None: ...


@pytest.fixture
def pool(prefect_api: None) -> str:
    """This test's work pool."""
    name = f"pool-{uuid.uuid4()}"
    with get_client(sync_client=True) as client:
        client.create_work_pool(WorkPoolCreate(name=name, type="process"))
    return name


def server() -> ServerApi:
    return ServerApi(str(get_current_settings().api.url))


def two_runs(client: SyncPrefectClient, pool: str) -> tuple[FlowRun, FlowRun]:
    """Runs of a deployment that has one slot."""
    deployment = client.create_deployment(
        client.create_flow(nothing),
        name="scheduled",
        work_pool_name=pool,
        concurrency_limit=ConcurrencyLimitConfig(limit=1).limit,
    )
    first, second = (client.create_flow_run_from_deployment(deployment) for _ in range(2))
    return first, second


@contextmanager
def process_of(run: FlowRun) -> Iterator[subprocess.Popen[bytes]]:
    """A process like that of a flow run, and one like its guard."""
    environment = {**os.environ, "PREFECT__FLOW_RUN_ID": str(run.id)}
    wait = "import time; time.sleep(600)"
    guard = subprocess.Popen([sys.executable, "-c", wait, "lfv.run.hosting.guard"], env=environment)
    engine = subprocess.Popen([sys.executable, "-c", wait, "flows.engine"], env=environment)
    try:
        wait_until(lambda: flow_run_processes().get(str(run.id)) == [engine.pid])
        yield engine
    finally:
        for process in (guard, engine):
            process.kill()
            process.wait()


@pytest.mark.parametrize("last", [Pending, Running, Cancelling])
def test_runs_waiting_for_a_run_without_a_process_continue(pool: str, last: Any) -> None:
    with get_client(sync_client=True) as client:
        first, second = two_runs(client, pool)
        client.set_flow_run_state(first.id, Pending())
        if last is not Pending:
            client.set_flow_run_state(first.id, last(), force=True)
        waiting = client.set_flow_run_state(second.id, Pending())
        assert waiting.state is not None
        assert waiting.state.name == "AwaitingConcurrencySlot"
        shown = scheduled_runs(server(), pool)
        assert shown is not None
        (line,) = shown.waiting
        assert line.startswith(f"1 run waits behind {first.name}, ")
        assert "it has no process" in line

        assert end_left_runs(server(), pool, "its worker was killed") == [first.name]

        state = client.read_flow_run(first.id).state
        assert state is not None
        assert (state.type, state.message) == (StateType.CRASHED, "its worker was killed")
        shown = scheduled_runs(server(), pool)
        assert shown is not None
        assert str(shown.last).endswith(", Crashed")
        started = client.set_flow_run_state(second.id, Pending()).state
        assert started is not None
        assert started.type == StateType.PENDING
        assert end_left_runs(server(), pool, "and this one") == [second.name]


def test_a_deployment_that_somebody_paused_is_shown(pool: str) -> None:
    with get_client(sync_client=True) as client:
        first, _ = two_runs(client, pool)
    shown = scheduled_runs(server(), pool)
    assert shown is not None
    assert not shown.paused
    server().post(f"deployments/{first.deployment_id}/pause_deployment", {})
    shown = scheduled_runs(server(), pool)
    assert shown is not None
    assert shown.paused


def test_a_run_with_a_process_is_left_alone_until_the_plant_ends(pool: str) -> None:
    with get_client(sync_client=True) as client:
        first, _ = two_runs(client, pool)
        client.set_flow_run_state(first.id, Running(), force=True)
        with process_of(first) as process:
            assert end_left_runs(server(), pool, "") == []
            assert process.poll() is None
            end_runs(server(), pool, "its worker has ended")
            process.wait(PLENTY)
        state = client.read_flow_run(first.id).state
        assert state is not None
        assert (state.type, state.message) == (StateType.CRASHED, "its worker has ended")


@pytest.mark.parametrize("last", [Pending, Running, Paused])
def test_runs_with_a_process_are_cancelled_by_their_worker(pool: str, last: Any) -> None:
    with get_client(sync_client=True) as client, ThreadPoolExecutor() as pools:
        first, _ = two_runs(client, pool)
        client.set_flow_run_state(first.id, last(), force=True)
        with process_of(first) as process:
            cancelling = pools.submit(cancel_runs, server(), pool, "the plant ends")

            def state() -> State:
                found = client.read_flow_run(first.id).state
                assert found is not None
                return found

            wait_until(lambda: state().type is StateType.CANCELLING)
            assert state().message == "the plant ends"
            assert not cancelling.done()  # the worker ends the process
            process.kill()
            process.wait()
            with pytest.raises(TimeoutError):
                cancelling.result(1)  # the worker has to report it
            client.set_flow_run_state(first.id, Cancelled(), force=True)
            cancelling.result(PLENTY)


class OneLimit(ServerApi):
    """A server without flow runs, or with one of another pool, whose limit has a slot taken."""

    def __init__(self, runs: list[dict[str, Any]]) -> None:
        super().__init__("")
        object.__setattr__(self, "runs", runs)
        object.__setattr__(self, "changes", {})

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        if path == "flow_runs/filter":
            assert body["flow_runs"]["state"]["type"]["any_"] == list(HOLDING)
            return [] if "work_pools" in body else self.runs  # type: ignore[attr-defined]
        assert path == "v2/concurrency_limits/filter"
        free = {"id": "free", "active_slots": 0, "slot_decay_per_second": 0.0}
        return [free, free | {"id": "taken", "active_slots": 1}]

    def patch(self, path: str, body: Mapping[str, Any]) -> None:
        self.changes[path] = body  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("runs", "changes"),
    [
        ([], {"v2/concurrency_limits/taken": {"active_slots": 0}}),
        ([{"id": "x", "name": "of-another-pool"}], {}),
    ],
)
def test_slots_that_nobody_can_hold_are_freed(
    runs: list[dict[str, Any]], changes: dict[str, Any]
) -> None:
    api = OneLimit(runs)
    end_left_runs(api, "inspection", "")
    assert api.changes == changes  # type: ignore[attr-defined]
