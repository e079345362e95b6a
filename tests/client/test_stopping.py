"""Stopping under every failure, with a clock that advances only during waits."""

from __future__ import annotations

import re
import threading
from typing import Any

import pytest

from lfv.client.errors import (
    HostAccessDenied,
    HostingInterrupted,
    HostingTimedOut,
    HostTimeout,
    HostUnavailable,
    ModelNotFound,
)
from lfv.client.hosting import StoppedOutcome, ensure_stopped
from lfv.client.hosts import ModelState
from lfv.formats.status import ModelStatus
from tests.support.fake_model import FakeClock, FakeModel, FakeModelHost


def down(model: FakeModel, clock: FakeClock, timeout: float = 1800, **more: Any) -> StoppedOutcome:
    return ensure_stopped(FakeModelHost(model), "token-2", timeout=timeout, clock=clock, **more)


def test_stop(model: FakeModel, clock: FakeClock) -> None:
    model.status = ModelStatus.HOSTED
    outcome = down(model, clock)
    assert outcome.was_up
    assert outcome.attempts == 1
    assert model.status is ModelStatus.TRAINED
    assert 30 <= clock.monotonic() <= 36
    assert model.calls[0].operation == "StopModel"


@pytest.mark.parametrize(
    "status",
    [ModelStatus.TRAINED, ModelStatus.HOSTING_FAILED, ModelStatus.TRAINING, ModelStatus.DELETING],
)
def test_stop_a_stopped_model(model: FakeModel, clock: FakeClock, status: ModelStatus) -> None:
    model.status = status
    outcome = down(model, clock)
    assert not outcome.was_up
    assert clock.monotonic() == 0


def test_a_second_stop_has_no_effect(model: FakeModel, clock: FakeClock) -> None:
    model.status = ModelStatus.HOSTED
    assert down(model, clock).was_up
    assert not down(model, clock).was_up


def test_a_model_that_stops_before_it_is_described_counts_as_up(
    model: FakeModel, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    model.status = ModelStatus.HOSTED
    look = FakeModelHost.describe

    def late(host: FakeModelHost) -> ModelState:
        clock.advance(model.stop_seconds)
        return look(host)

    monkeypatch.setattr(FakeModelHost, "describe", late)
    outcome = down(model, clock)
    assert outcome.was_up
    assert clock.waits == []


def test_stop_a_stopping_model(model: FakeModel, clock: FakeClock) -> None:
    model.status = ModelStatus.STOPPING_HOSTING
    model.later(60, ModelStatus.TRAINED)
    assert down(model, clock).was_up
    assert clock.monotonic() >= 60


@pytest.mark.parametrize("status", [ModelStatus.STARTING_HOSTING, ModelStatus.SYSTEM_UPDATING])
def test_stop_a_starting_model(model: FakeModel, clock: FakeClock, status: ModelStatus) -> None:
    """The API refuses StopModel while starting; the model is stopped once it is up."""
    model.status = status
    model.later(300, ModelStatus.HOSTED)
    outcome = down(model, clock)
    assert model.status is ModelStatus.TRAINED
    assert 330 <= clock.monotonic() <= 345
    assert outcome.attempts < 140


def test_stop_a_model_whose_start_fails(model: FakeModel, clock: FakeClock) -> None:
    model.status = ModelStatus.STARTING_HOSTING
    model.later(50, ModelStatus.HOSTING_FAILED)
    assert down(model, clock).was_up


def test_stop_that_fails_five_times(model: FakeModel, clock: FakeClock) -> None:
    model.status = ModelStatus.HOSTED
    model.fail_next("StopModel", HostUnavailable("500"), times=5)
    outcome = down(model, clock)
    assert outcome.attempts == 6
    assert not model.is_up
    tokens = {call.client_token for call in model.calls if call.operation == "StopModel"}
    assert len(tokens) == 6
    assert all(re.fullmatch(r"token-2-[a-zA-Z0-9-]{32}", token) for token in tokens)


@pytest.mark.parametrize("happens", [True, False])
def test_stop_whose_answer_was_lost(model: FakeModel, clock: FakeClock, happens: bool) -> None:
    model.status = ModelStatus.HOSTED
    model.fail_next("StopModel", HostTimeout("lost"), happens=happens)
    down(model, clock)
    assert not model.is_up


def test_stop_that_was_accepted_and_forgotten(clock: FakeClock) -> None:
    class Forgetful(FakeModelHost):
        forgotten = 0

        def stop(self, client_token: str) -> Any:
            self.forgotten += 1
            if self.forgotten > 2:
                return super().stop(client_token)
            return self.model.describe()

    model = FakeModel(clock=clock, status=ModelStatus.HOSTED)
    host = Forgetful(model)
    ensure_stopped(host, "t", timeout=600, clock=clock)
    assert host.forgotten == 3
    assert not model.is_up


def test_a_start_by_somebody_else_is_not_undone(model: FakeModel, clock: FakeClock) -> None:
    """Between two looks, somebody saw the model stopped and started it again."""
    model.status = ModelStatus.HOSTED
    clock.on_wait = lambda _: setattr(model, "status", ModelStatus.HOSTED)
    outcome = down(model, clock, is_settled=lambda: bool(clock.waits))
    assert (outcome.was_up, outcome.attempts) == (True, 1)
    assert model.status is ModelStatus.HOSTED


def test_stop_a_deleted_model(model: FakeModel, clock: FakeClock) -> None:
    for operation in ("StopModel", "DescribeModel"):
        model.fail_next(operation, ModelNotFound("no such model"))
        outcome = down(model, clock)
        assert outcome.state is None


def test_stop_is_refused_permanently(model: FakeModel, clock: FakeClock) -> None:
    model.status = ModelStatus.HOSTED
    model.fail_next("StopModel", HostAccessDenied("no"))
    with pytest.raises(HostAccessDenied):
        down(model, clock)


def test_stop_deadline_and_interrupt(model: FakeModel, clock: FakeClock) -> None:
    model.status = ModelStatus.HOSTED
    model.fail_next("StopModel", HostUnavailable("500"), times=9999)
    with pytest.raises(HostingTimedOut, match="60 seconds"):
        down(model, clock, timeout=60)
    stop = threading.Event()
    clock.on_wait = lambda _: stop.set()
    with pytest.raises(HostingInterrupted):
        down(model, clock, stop_event=stop)
    assert model.is_up


def test_two_stops_at_once(clock: FakeClock) -> None:
    """The guard and the sweeper stop the same model."""
    model = FakeModel(clock=clock, status=ModelStatus.HOSTED, stop_seconds=5)
    outcomes: list[StoppedOutcome] = []
    threads = [threading.Thread(target=lambda: outcomes.append(down(model, clock))) for _ in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(outcomes) == 2
    assert not model.is_up
