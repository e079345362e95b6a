"""Round trips of a commit to PostgreSQL, which may be on another machine."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from lfv_store import open_store
from tests.support.store_samples import a_model, a_run, judged, segmented


def test_a_batch_takes_two_round_trips(
    postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_store(postgresql_url) as store:
        model_id = a_model(store)
        run_id = a_run(store, model_id)
        store.inspections.record(run_id, [judged(model_id, 1)])  # counts, once a second
        sent: list[str] = []
        wait = psycopg.Connection.wait

        def counted(self: psycopg.Connection[Any], gen: Any, *rest: Any, **named: Any) -> Any:
            sent.append(getattr(gen, "__qualname__", ""))
            return wait(self, gen, *rest, **named)

        monkeypatch.setattr(psycopg.Connection, "wait", counted)
        batch = [judged(model_id, line) for line in range(2, 40)]
        store.inspections.record(run_id, [*batch, segmented(model_id, 40)])
        assert len([name for name in sent if name.endswith("_execute_gen")]) == 2, sent
        assert store.audit.verify().ok
