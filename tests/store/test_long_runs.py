"""The cost of a batch of lines does not depend on the number of lines before it.

Counted in steps of SQLite's virtual machine, which depend on neither the machine nor its load.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from lfv_store import Store, open_store
from tests.support.store_samples import a_model, a_run, an_item, judged

_BATCH = 100
_BATCHES = 50
#: The handler is called after this many steps.
_EVERY = 20


class Steps:
    """Steps of all connections of a database."""

    def __init__(self, engine: sa.Engine) -> None:
        self._count = 0
        sa.event.listen(engine, "connect", self._watch)

    def _watch(self, connection: object, _record: object) -> None:
        connection.set_progress_handler(self._add, _EVERY)  # type: ignore[attr-defined]

    def _add(self) -> int:
        self._count += _EVERY
        return 0

    def of(self, action: Callable[[], object]) -> int:
        before = self._count
        action()
        return self._count - before


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(f"sqlite:///{tmp_path / 'store.db'}") as opened:
        yield opened


def assert_steady(steps: list[int]) -> None:
    """The last batches take no more steps than the first; B-trees get a little deeper."""
    early, late = sorted(steps[3:10])[3], sorted(steps[-7:])[3]
    assert late < 1.3 * early + 200, steps


@pytest.mark.parametrize("pictures", [_BATCH * _BATCHES, 150], ids=["distinct", "repeated"])
def test_planning_a_batch_costs_the_same_late_in_a_run(store: Store, pictures: int) -> None:
    counter = Steps(store.database.engine)
    store.database.engine.dispose()
    run_id = a_run(store, a_model(store))

    def plan(first: int) -> None:
        items = [an_item(line, image=line % pictures) for line in range(first, first + _BATCH)]
        store.inspections.plan(run_id, pending=items, through_line=first + _BATCH - 1)

    steps = [counter.of(lambda f=first: plan(f)) for first in range(1, _BATCH * _BATCHES, _BATCH)]

    assert store.inspections.counts(run_id).pending == _BATCH * _BATCHES
    assert_steady(steps)


def test_recording_a_batch_costs_the_same_late_in_a_run(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Tallies are updated once a second; here with every batch.
    monkeypatch.setattr("lfv_store.inspections._COUNT_EVERY_SECONDS", 0.0)
    counter = Steps(store.database.engine)
    store.database.engine.dispose()
    model_id = a_model(store)
    run_id = a_run(store, model_id)
    lines = range(1, _BATCH * _BATCHES + 1)
    items = [an_item(line) for line in lines]
    store.inspections.plan(run_id, pending=items, through_line=lines[-1])
    batches = [lines[first : first + _BATCH] for first in range(0, len(lines), _BATCH)]

    def record(batch: range) -> None:
        store.inspections.pending(run_id, limit=_BATCH)
        store.inspections.record(run_id, [judged(model_id, line) for line in batch])

    steps = [counter.of(lambda b=batch: record(b)) for batch in batches]

    assert store.inspections.counts(run_id).pending == 0
    assert_steady(steps)
