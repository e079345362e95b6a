"""The stream of a run's images: no batch waits for another, and no answer is lost."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from lfv.client.errors import HostConflict, HostRejected, HostTimeout
from lfv.client.hosts import ModelState
from lfv.formats.answers import DetectAnomalyResult
from lfv.run.active import ActiveRun
from lfv.run.control import Ending, Progress, watch_runs
from lfv.run.detection import stream
from lfv.run.detection.detect import DetectedBatch, detect_batch
from lfv.run.detection.stream import GIVE_UP_AFTER, DetectionStream
from lfv_store import ModelPace, NewInspection, Store, StoreUnavailable
from lfv_store.inspections import Inspections
from tests.support.detection import BusyModel, planned_run
from tests.support.fake_model import FakeModelHost, normal
from tests.support.waiting import PLENTY, wait_until


def detect_in_batches(run: ActiveRun, size: int) -> list[DetectedBatch]:
    """All pending images, in batches that are open at the same time."""
    items = run.store.inspections.pending(run.run_id, limit=10_000)
    batches = [items[start : start + size] for start in range(0, len(items), size)]
    with DetectionStream(run), ThreadPoolExecutor(len(batches)) as pool:
        return list(pool.map(lambda batch: detect_batch(run, batch), batches))


def test_a_slow_image_delays_only_its_batch(tmp_path: Path, store: Store) -> None:
    others_done = threading.Event()
    answered: list[bytes] = []

    def answers(body: bytes) -> DetectAnomalyResult:
        if body.endswith(b" 3"):
            assert others_done.wait(PLENTY), "the others wait for the slow image"
        answered.append(body)
        if len(answered) == 39:
            others_done.set()
        return normal()

    with planned_run(tmp_path / "images", store, answers, 40) as run:
        batches = detect_in_batches(run, 10)
    assert [batch.answered for batch in batches] == [10, 10, 10, 10]
    assert answered[-1].endswith(b" 3")


def test_uncommitted_answers_never_exceed_the_ceiling(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_commit = threading.Event()
    record = Inspections.record

    def held_up(self: Inspections, run_id: str, group: Sequence[NewInspection]) -> object:
        assert may_commit.wait(PLENTY)
        return record(self, run_id, group)

    monkeypatch.setattr(Inspections, "record", held_up)
    model = BusyModel(seconds=0.001)
    with (
        planned_run(tmp_path / "images", store, model, 50, requests_per_unit=12) as run,
        DetectionStream(run),
        ThreadPoolExecutor(1) as pool,
    ):
        batch = pool.submit(detect_batch, run, store.inspections.pending(run.run_id))
        wait_until(lambda: model.answered == 12)
        threading.Event().wait(0.3)
        asked = model.answered + model.in_flight
        may_commit.set()
        assert batch.result().answered == 50
    assert asked == 12
    assert model.answered == 50


def test_the_next_run_starts_with_the_measured_capacity(tmp_path: Path, store: Store) -> None:
    model = BusyModel(capacity=9, seconds=0.02)
    with planned_run(tmp_path / "images", store, model, 200) as run:
        detect_in_batches(run, 100)
        pace = store.models.pace(run.context.model_id)
        assert pace is not None
        assert pace.in_flight == run.limit.limit  # about 9, less on a busy machine
        assert pace.latency_ms >= 20
        assert pace.images_per_second == pytest.approx(pace.in_flight * 1000 / pace.latency_ms)
    with planned_run(tmp_path / "more", store, model, 5) as run:
        assert run.limit.limit == 4
        known = ModelPace(24, 2, 100.0, pace.measured_at)
        store.models.set_pace(run.context.model_id, known)
        assert store.models.pace(run.context.model_id) == known
    with planned_run(tmp_path / "again", store, model, 5) as run:
        store.models.set_pace(run.context.model_id, known)
        assert run.limit.limit == 12


@pytest.mark.parametrize(("at_first", "at_last"), [(2, 1), (1, 2), (3, 3)])
def test_the_stored_capacity_is_of_the_processes_that_call_the_model_now(
    tmp_path: Path, store: Store, at_first: int, at_last: int
) -> None:
    """Whoever leaves a run leaves its requests to the others, whose batches began before."""
    with planned_run(tmp_path / "images", store, BusyModel(seconds=0.002), 40) as run:
        run.context = replace(run.context, workers=at_first)
        with DetectionStream(run):
            detect_batch(run, store.inspections.pending(run.run_id))
            run.limit.share(at_last)
        pace = store.models.pace(run.context.model_id)
        assert pace is not None
        assert pace.in_flight == run.limit.limit * at_last


def test_an_image_that_the_model_refuses_is_recorded_with_its_error(
    tmp_path: Path, store: Store
) -> None:
    def answers(body: bytes) -> DetectAnomalyResult:
        if body.endswith(b"7"):
            raise HostRejected("not this one")
        if body.endswith(b"8"):
            raise HostTimeout("no answer")
        return normal()

    with planned_run(tmp_path / "images", store, answers, 20) as run:
        batches = detect_in_batches(run, 10)
        errors = [row["error"] for row in store.results.rows(run.run_id) if row["error"]]
    assert [(batch.answered, batch.errors) for batch in batches] == [(8, 2), (8, 2)]
    assert sorted(errors) == ["host_rejected: not this one"] * 2 + ["host_timeout: no answer"] * 2


def test_a_model_that_never_answers_records_nothing(tmp_path: Path, store: Store) -> None:
    def answers(_: bytes) -> DetectAnomalyResult:
        raise HostTimeout("no answer")

    for number, images in enumerate((3, GIVE_UP_AFTER + 5)):
        with planned_run(tmp_path / str(number), store, answers, images) as run:
            (batch,) = detect_in_batches(run, 100)
            assert (batch.ending, batch.left) == (Ending.OUT_OF_REACH, images)
            assert store.inspections.counts(run.run_id).pending == images


def test_a_closed_terminal_does_not_delay_the_run(tmp_path: Path, store: Store) -> None:
    def closed(_: Progress) -> None:
        raise BrokenPipeError("the reader of stderr has ended")

    with (
        watch_runs(closed),
        planned_run(tmp_path / "images", store, BusyModel(), 40) as run,
        ThreadPoolExecutor(1) as pool,
    ):
        (batch,) = pool.submit(detect_in_batches, run, 40).result(PLENTY)
    assert batch.answered == 40


def test_an_error_while_failures_are_judged_ends_the_run(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answers(body: bytes) -> DetectAnomalyResult:
        if body.endswith(b" 1"):
            return normal()
        wait_until(lambda: store.inspections.counts(run.run_id).inspected == 1)
        raise HostTimeout("no answer")

    def broken(_: FakeModelHost) -> ModelState:
        raise ZeroDivisionError("a fault of the host's client")

    monkeypatch.setattr(FakeModelHost, "describe", broken)
    with (
        planned_run(tmp_path / "images", store, answers, 3) as run,
        ThreadPoolExecutor(1) as pool,
    ):
        detected = pool.submit(detect_in_batches, run, 3)
        with pytest.raises(ZeroDivisionError):
            detected.result(PLENTY)


def test_a_lost_model_leaves_the_rest_pending(tmp_path: Path, store: Store) -> None:
    def gone(answered: int) -> None:
        if answered >= 10:
            raise HostConflict("not hosted")

    model = BusyModel(on_answer=gone)
    with planned_run(tmp_path / "images", store, model, 60) as run:
        batches = detect_in_batches(run, 20)
        counts = store.inspections.counts(run.run_id)
    assert {batch.ending for batch in batches} == {Ending.MODEL_LOST}
    assert counts.pending == sum(batch.left for batch in batches)
    assert counts.inspected == sum(batch.answered for batch in batches) == 9


def test_a_lost_store_ends_the_run(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object) -> None:
        raise StoreUnavailable("gone")

    with planned_run(tmp_path / "images", store, BusyModel(), 30) as run:
        monkeypatch.setattr(Inspections, "record", gone)
        (batch,) = detect_in_batches(run, 30)
    assert (batch.ending, batch.answered, batch.left) == (Ending.STORE, 0, 30)


def test_unexpected_errors_are_raised(tmp_path: Path, store: Store) -> None:
    def answers(_: bytes) -> DetectAnomalyResult:
        raise ZeroDivisionError("a bug")

    with planned_run(tmp_path / "images", store, answers, 30) as run:
        with pytest.raises(ZeroDivisionError):
            detect_in_batches(run, 10)
        assert run.control.ending is Ending.INTERRUPTED
        assert store.inspections.counts(run.run_id).pending == 30


def test_a_run_that_ends_does_not_wait_for_a_model_that_is_slow(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "_DRAIN_SECONDS", 0.1)
    asked, may_answer = threading.Event(), threading.Event()

    def answers(_: bytes) -> DetectAnomalyResult:
        asked.set()
        assert may_answer.wait(PLENTY)
        return normal()

    with (
        planned_run(tmp_path / "images", store, answers, 30) as run,
        ThreadPoolExecutor(1) as pool,
    ):
        with suppress(KeyboardInterrupt), DetectionStream(run):
            batch = pool.submit(detect_batch, run, store.inspections.pending(run.run_id))
            assert asked.wait(PLENTY)
            run.control.end(Ending.INTERRUPTED)
            raise KeyboardInterrupt
        may_answer.set()  # too late to be stored
        assert batch.result(PLENTY).left == 30
        assert store.inspections.counts(run.run_id).pending == 30


def test_threads_that_wait_for_commits_end_with_the_run(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = threading.Event()

    def held_up(*_: object) -> None:
        assert ended.wait(PLENTY)
        raise StoreUnavailable("gone")

    monkeypatch.setattr(Inspections, "record", held_up)
    model = BusyModel(seconds=0.001)
    with planned_run(tmp_path / "images", store, model, 100, requests_per_unit=3) as run:

        def end() -> None:
            wait_until(lambda: model.answered == 3)
            run.control.end(Ending.LIMIT, "the cost limit is reached")
            ended.wait(0.2)  # the threads wait, although the run has ended
            ended.set()

        with ThreadPoolExecutor(1) as pool:
            ending = pool.submit(end)
            (batch,) = detect_in_batches(run, 100)
            ending.result()
    assert batch.ending is Ending.LIMIT
    assert batch.left == 100
    wait_until(lambda: not any("detect-" in thread.name for thread in threading.enumerate()))
