"""Models and runs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from lfv_store import InvalidRecord, ModelKey, NewRun, Store, UnknownModel, UnknownRun
from tests.support.store_samples import POLICY, T0, a_model, a_run, after


def test_a_model_is_registered_once(store: Store) -> None:
    key = ModelKey("sagemaker", "arn:x", "bottles", "3", None)
    first = store.models.register(key)
    assert store.models.register(key) == first
    assert store.models.get(first).key == key
    newer = ModelKey("sagemaker", "arn:x", "bottles", "3", T0)
    assert store.models.register(newer) != first
    assert [model.key for model in store.models.list()] == [newer, key]
    job = ModelKey("sagemaker-batch", "arn:job", "bottles", "transform-job/x")
    store.models.register(job)
    assert [one.key for one in store.models.list(not_on="sagemaker-batch")] == [newer, key]
    newest = store.models.list()[0].model_id
    assert [one.key for one in store.models.list(before=newest)] == [newer, key]


def test_an_unknown_model_is_refused(store: Store) -> None:
    with pytest.raises(UnknownModel):
        store.models.get(7)
    with pytest.raises(UnknownModel):
        a_run(store, 7)


def test_a_run_comes_back_as_it_was_started(store: Store) -> None:
    model_id = a_model(store)
    zone = timezone(timedelta(hours=2))
    new = NewRun(
        run_id="4b3b2f43-5d5e-4d50-8d2e-1cf1c1d4b6f0",
        project_name="bottles",
        model_version="1",
        host="lookoutvision",
        source="lot.manifest",
        policy={"confidence": 0.8, "limits": {"dent": 0.01}},
        started_at=datetime(2026, 3, 4, 7, 6, 7, tzinfo=zone),
        model_id=model_id,
        triggered_by="schedule",
        flow_run_id="f-1",
        code_version="1.2.3",
        parameters={"batch": 50},
    )
    run = store.runs.start(new)
    assert run == store.runs.start(new) == store.runs.get(new.run_id)
    assert run.started_at == datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
    assert run.started_at.tzinfo is UTC
    assert (run.policy, run.parameters) == (new.policy, new.parameters)
    assert (run.status, run.planned_through, run.finished_at) == ("running", 0, None)
    assert len(run.policy_sha256) == 64
    assert store.runs.find_by_flow_run("f-1") == run
    assert store.runs.find_by_flow_run("f-2") is None
    assert list(store.runs.find("4b3b")) == [run]
    assert list(store.runs.find("%")) == []


def test_the_same_policy_is_stored_once(store: Store) -> None:
    one, two = a_run(store), a_run(store)
    other = a_run(store, policy={"confidence": 0.5})
    digests = [store.runs.get(run).policy_sha256 for run in (one, two, other)]
    assert digests[0] == digests[1] != digests[2]
    with store.database.read() as conn:
        assert conn.exec_driver_sql("SELECT count(*) FROM policies").scalar() == 2


def test_status_manifest_and_resume(store: Store) -> None:
    run_id = a_run(store)
    assert store.runs.get(run_id).skipped is None
    store.runs.set_manifest(run_id, "ab" * 32, 12, {"masks": 3})
    store.runs.set_status(run_id, "interrupted", "the cost limit was reached", after(60))
    run = store.runs.get(run_id)
    assert (run.manifest_sha256, run.manifest_lines) == ("ab" * 32, 12)
    assert run.skipped == {"masks": 3}
    assert (run.status, run.message) == ("interrupted", "the cost limit was reached")
    assert run.finished_at == after(60)
    run = store.runs.resume(run_id, flow_run_id="f-2")
    assert (run.status, run.message, run.finished_at) == ("running", None, None)
    assert run.flow_run_id == "f-2"
    actions = [entry.action for entry in store.audit.entries() if entry.subject == run_id]
    assert actions == ["run.started", "run.manifest", "run.interrupted", "run.resumed"]


def test_the_model_of_a_run_may_be_known_later(store: Store) -> None:
    run_id = a_run(store, model_id=None, model_version="latest")
    assert store.runs.get(run_id).model_id is None
    with pytest.raises(UnknownModel):
        store.runs.set_model(run_id, 4711, "3", {})
    model_id = a_model(store)
    run = store.runs.set_model(run_id, model_id, "3", {"fit": "scale"})
    assert (run.model_id, run.model_version, run.parameters) == (model_id, "3", {"fit": "scale"})
    actions = [entry.action for entry in store.audit.entries() if entry.subject == run_id]
    assert actions == ["run.started", "run.model"]
    assert store.audit.verify().ok


def test_an_unchanged_update_is_not_recorded(store: Store) -> None:
    run_id = a_run(store)
    store.runs.set_status(run_id, "completed", None, after(60))
    before = store.audit.head()
    store.runs.set_status(run_id, "completed", None, after(60))
    assert store.audit.head() == before


def test_runs_are_listed_newest_first(store: Store) -> None:
    runs = [a_run(store, started_at=after(seconds)) for seconds in (0, 20, 10)]
    store.runs.set_status(runs[0], "failed", "x", after(30))
    assert [run.run_id for run in store.runs.list()] == [runs[1], runs[2], runs[0]]
    assert [run.run_id for run in store.runs.list(1)] == [runs[1]]
    assert [run.run_id for run in store.runs.list(status="failed")] == [runs[0]]


def test_what_does_not_exist_or_fit_is_refused(store: Store) -> None:
    with pytest.raises(UnknownRun, match="no run has id 'nope'"):
        store.runs.get("nope")
    with pytest.raises(UnknownRun):
        store.runs.set_status("nope", "completed", None, T0)
    with pytest.raises(InvalidRecord, match="unknown run status 'done'"):
        store.runs.set_status(a_run(store), "done", None, T0)  # type: ignore[arg-type]
    with pytest.raises(InvalidRecord, match="naive datetime"):
        a_run(store, started_at=datetime(2026, 1, 1))  # noqa: DTZ001
    with pytest.raises(InvalidRecord):
        a_run(store, parameters={"x": {1, 2}})


def test_text_from_outside_is_cleaned(store: Store) -> None:
    run_id = a_run(store, source="nul \x00 half \ud800 pair", policy=POLICY)
    assert store.runs.get(run_id).source == "nul \ufffd half \ufffd\ufffd\ufffd pair"
