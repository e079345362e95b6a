"""Processes that share a run claim its pending lines, never a line that another holds."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import timedelta

import pytest

from lfv_store import PendingItem, Store
from lfv_store.run_workers import Holding
from tests.support.store_samples import a_model, a_run, an_item, judged

TTL = timedelta(minutes=10)
LOST = timedelta(microseconds=-1)


@pytest.fixture
def run_id(store: Store) -> str:
    run_id = a_run(store, a_model(store))
    items = [an_item(line, line) for line in range(1, 101)]
    store.inspections.plan(run_id, pending=items, through_line=100)
    return run_id


def claim(
    store: Store, run_id: str, worker: str, *held: Sequence[PendingItem]
) -> list[PendingItem]:
    """The next claim of a worker that holds these lines."""
    holding = Holding([items[0].line_number for items in held])
    return store.run_workers.claim(run_id, worker, holding, most=30, fewest=10, ttl=TTL)


def claim_of_a_lost_worker(store: Store, run_id: str) -> list[PendingItem]:
    """The claim of a worker whose last heartbeat has expired."""
    items = claim(store, run_id, "lost")
    store.run_workers.beat(run_id, "lost", Holding([items[0].line_number]), ttl=LOST)
    return items


def lines(items: Sequence[PendingItem]) -> list[int]:
    return [item.line_number for item in items]


def test_each_line_is_claimed_once(store: Store, run_id: str) -> None:
    store.run_workers.beat(run_id, "one", Holding(), ttl=TTL)
    held: dict[str, list[list[PendingItem]]] = {"one": [], "two": []}
    for worker in itertools.cycle(held):
        items = claim(store, run_id, worker, *held[worker])
        if not items:
            break
        held[worker].append(items)
    claimed = [line for claims in held.values() for items in claims for line in lines(items)]
    assert sorted(claimed) == list(range(1, 101))
    assert all(len(claims) > 1 for claims in held.values())


def test_the_lines_of_a_lost_worker_go_to_the_others(store: Store, run_id: str) -> None:
    lost = claim_of_a_lost_worker(store, run_id)
    assert lines(claim(store, run_id, "other")) == lines(lost)


def test_recorded_lines_are_not_handed_out_again(store: Store, run_id: str) -> None:
    lost = claim_of_a_lost_worker(store, run_id)
    model_id = store.runs.get(run_id).model_id
    assert model_id is not None
    store.inspections.record(run_id, [judged(model_id, line) for line in lines(lost)[:5]])
    assert lines(claim(store, run_id, "other"))[0] == lines(lost)[5]


def test_a_claim_unknown_to_its_worker_ends(store: Store, run_id: str) -> None:
    first = claim(store, run_id, "one")
    assert lines(claim(store, run_id, "one")) == lines(first)


def test_lines_between_two_claims_are_claimed_next(store: Store, run_id: str) -> None:
    one = claim(store, run_id, "one")
    two = claim(store, run_id, "two")
    claim(store, run_id, "three")
    store.run_workers.leave(run_id, "two", 0)
    between = claim(store, run_id, "one", one)
    assert lines(between)[0] == lines(two)[0]
    assert lines(between)[-1] <= lines(two)[-1]


def test_workers_are_counted_while_they_live(store: Store, run_id: str) -> None:
    assert store.run_workers.beat(run_id, "one", Holding(), ttl=TTL) == 1
    assert store.run_workers.beat(run_id, "two", Holding(images=7), ttl=TTL) == 2
    assert store.run_workers.beat(run_id, "lost", Holding(), ttl=LOST) == 2
    store.run_workers.leave(run_id, "one", 5, "model_lost", "it is down")
    lost, one, two = sorted(store.run_workers.list(run_id), key=lambda found: found.worker)
    assert (one.is_live, one.images) == (False, 5)
    assert (one.ending, one.message) == ("model_lost", "it is down")
    assert (two.is_live, two.images, two.ending) == (True, 7, None)
    assert not lost.is_live
    store.run_workers.clear(run_id)
    assert not store.run_workers.list(run_id)


def test_the_last_claims_are_small(store: Store, run_id: str) -> None:
    for worker in ("two", "three"):
        store.run_workers.beat(run_id, worker, Holding(), ttl=TTL)
    assert len(claim(store, run_id, "one")) == 10
