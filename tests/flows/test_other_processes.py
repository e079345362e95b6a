"""Detection in processes that did not open the run and open their own connections."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any, cast

import pytest
from prefect.futures import PrefectFuture
from prefect.task_runners import ProcessPoolTaskRunner, TaskRunner

from flows.inspect_images import inspect_images
from lfv.client.hosts import ModelHost
from lfv.client.policy import Policy
from lfv.client.sources import SourceReader
from lfv.run.active import ActiveRun, active_run
from lfv.run.context import InspectionRequest, RunContext
from lfv.run.control import RunControl
from lfv.settings import Settings
from lfv_store import Store
from tests.support.endpoints import Endpoint


def _flow() -> Any:
    runner = cast("TaskRunner[PrefectFuture[Any]]", ProcessPoolTaskRunner(max_workers=2))
    return inspect_images.with_options(task_runner=runner)


@pytest.fixture
def small_batches(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LFV_BATCH_SIZE", "4")


@pytest.mark.usefixtures("small_batches")
def test_a_run_spreads_its_batches_over_processes(
    images: Path, endpoint: Endpoint, store: Store
) -> None:
    summary = _flow()(source=str(images), project="parts")
    assert summary.status == "completed"
    assert (summary.counts.total, summary.counts.pending, summary.counts.errors) == (12, 0, 0)
    assert set(endpoint.asked().values()) == {1}
    assert endpoint.status == "TRAINED"


@pytest.mark.usefixtures("small_batches")
def test_a_model_lost_in_another_process_is_started_again(
    images: Path, endpoint: Endpoint, store: Store
) -> None:
    endpoint.script(fail={"DetectAnomalies": ["ok", "ok", "ConflictException"]})
    summary = _flow()(source=str(images), project="parts")
    assert summary.status == "completed"
    assert len(endpoint.calls("StartModel")) == 2
    assert sum(endpoint.asked().values()) == 12


@pytest.fixture
def context(tmp_path: Path, store: Store) -> RunContext:
    settings = Settings(home=tmp_path / "home")
    return RunContext(
        run_id="r",
        model_id=1,
        request=InspectionRequest(source="images", project="parts"),
        model_version="1",
        endpoint_url="http://127.0.0.1:9",
        embedded=False,
        policy=Policy.from_confidence(0.8).to_dict(),
        expected_size=None,
        planned_through=0,
        settings=settings,
    )


@pytest.fixture
def active(context: RunContext, store: Store) -> ActiveRun:
    unused: Any = None
    return ActiveRun(
        context, store, cast("SourceReader", unused), cast("ModelHost", unused), RunControl()
    )


def _sent(run: ActiveRun) -> RunContext:
    """What another process receives."""
    received: RunContext = pickle.loads(pickle.dumps(run))
    return received


def test_an_active_run_travels_as_its_context(active: ActiveRun, context: RunContext) -> None:
    assert _sent(active) == context


def test_the_process_that_opened_a_run_uses_its_connections(active: ActiveRun) -> None:
    with active_run(active) as found:
        assert found is active


def test_another_process_opens_connections_of_its_own(
    context: RunContext, active: ActiveRun
) -> None:
    with active_run(_sent(active)) as found:
        assert found.context == context
        assert found.store is not active.store
        assert found.store.runs.list(1) == []
        control = found.control
    assert control.stop.is_set()
