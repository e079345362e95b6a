"""What workers that share a run communicate to each other."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from lfv.client.policy import Policy
from lfv.run.context import InspectionRequest, RunContext
from lfv.run.control import Ending, RunControl
from lfv.run.detection import shards
from lfv.run.detection.shards import Share
from lfv.settings import Settings
from lfv_store import Lease, Store
from lfv_store.run_workers import RunWorker, RunWorkers
from tests.support.store_samples import a_model, a_run, an_item
from tests.support.waiting import wait_until


@pytest.fixture(autouse=True)
def frequent_beats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "_BEAT_SECONDS", 0.02)
    monkeypatch.setattr(shards, "_JOIN_SECONDS", 0.02)


@pytest.fixture
def context(tmp_path: Path, store: Store) -> RunContext:
    model_id = a_model(store)
    run_id = a_run(store, model_id)
    store.inspections.plan(
        run_id, pending=[an_item(line, line) for line in range(1, 51)], through_line=50
    )
    return RunContext(
        run_id=run_id,
        model_id=model_id,
        request=InspectionRequest(source="images", project="parts"),
        model_version="1",
        endpoint_url=None,
        embedded=False,
        policy=Policy.from_confidence(0.8).to_dict(),
        expected_size=None,
        planned_through=50,
        settings=Settings(home=tmp_path / "home"),
    )


@pytest.fixture
def leader(store: Store, context: RunContext) -> Iterator[tuple[Share, RunControl]]:
    control = RunControl()
    with Share(store, context, control, leads=True) as share:
        yield share, control


def test_workers_claim_different_lines_and_count_each_other(
    store: Store, context: RunContext, lease: Lease, leader: tuple[Share, RunControl]
) -> None:
    share, control = leader
    with Share(store, context, RunControl(), leads=False) as other:
        wait_until(lambda: share.workers == other.workers == 2)
        mine, theirs = share.claim(), other.claim()
        assert mine
        assert theirs
        assert mine[-1].line_number < theirs[0].line_number
        other.finish(theirs[0].line_number, 13)
        wait_until(lambda: control.done == 13)
    wait_until(lambda: share.workers == 1)


def test_a_lost_model_is_reported_to_the_leader(
    store: Store, context: RunContext, lease: Lease, leader: tuple[Share, RunControl]
) -> None:
    share, control = leader
    lost = RunControl()
    with Share(store, context, lost, leads=False):
        lost.end(Ending.MODEL_LOST, "it is down")
    assert control.stop.wait(60)
    assert (control.ending, control.message) == (Ending.MODEL_LOST, "it is down")
    share.await_others(60)


def test_a_shard_that_cannot_reach_the_model_does_not_end_the_others(
    store: Store, context: RunContext, lease: Lease, leader: tuple[Share, RunControl]
) -> None:
    share, control = leader
    alone = RunControl()
    with Share(store, context, alone, leads=False) as other:
        taken = other.claim()
        alone.end(Ending.OUT_OF_REACH, "no route to the model")
    assert share.claim()[0].line_number == taken[0].line_number
    assert control.ending is None


def test_an_interrupted_shard_reports_the_cause(
    store: Store, context: RunContext, lease: Lease, leader: tuple[Share, RunControl]
) -> None:
    control = RunControl()
    with (
        suppress(KeyboardInterrupt),
        Share(store, context, control, leads=False),
    ):
        control.end(Ending.INTERRUPTED)
        raise KeyboardInterrupt
    (left,) = (one for one in store.run_workers.list(context.run_id) if one.ending)
    assert (left.ending, left.message) == ("interrupted", "interrupted from the keyboard")


def test_a_shard_ends_with_the_run(store: Store, context: RunContext, lease: Lease) -> None:
    control = RunControl()
    with Share(store, context, control, leads=False):
        store.leases.call_off(context.run_id)
        assert control.stop.wait(60)
    assert control.ending is Ending.INTERRUPTED


def test_a_claim_has_as_many_lines_as_its_worker_inspects_in_seconds(
    store: Store, context: RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = [an_item(line, line) for line in range(51, 2001)]
    store.inspections.plan(context.run_id, pending=more, through_line=2000)
    now = 1000.0
    monkeypatch.setattr(shards.time, "monotonic", lambda: now)
    leader = Share(store, context, RunControl(), leads=True)
    items = leader.claim()
    assert len(items) == 64
    store.run_workers.clear(context.run_id)
    share = Share(store, context, RunControl(), leads=False)
    sizes = []
    for seconds in (0.5, 0.1, 4.0, 4.0):
        items = share.claim()
        sizes.append(len(items))
        now += seconds
        share.finish(items[0].line_number, len(items))
    first, of_16_in_a_second, of_67_in_a_second, of_38_in_a_second = sizes
    assert first == 8
    assert of_16_in_a_second == 32
    assert of_67_in_a_second == 133
    assert of_38_in_a_second == 75


def test_a_report_that_hangs_does_not_delay_the_end(
    store: Store, context: RunContext, lease: Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "_LEAVE_SECONDS", 0.1)
    hanging, over = threading.Event(), threading.Event()
    listed = RunWorkers.list

    def hang(self: RunWorkers, run_id: str) -> Sequence[RunWorker]:
        hanging.set()
        over.wait()
        return listed(self, run_id)

    monkeypatch.setattr(RunWorkers, "list", hang)
    try:
        with Share(store, context, RunControl(), leads=True):
            assert hanging.wait(60)
        assert not over.is_set()
        assert any(thread.name == "share" for thread in threading.enumerate())
    finally:
        over.set()
