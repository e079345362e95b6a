"""Starting under every failure, with a clock that advances only during waits."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from lfv.client.clock import Backoff
from lfv.client.errors import (
    HostAccessDenied,
    HostConflict,
    HostError,
    HostingFailed,
    HostingInterrupted,
    HostingTimedOut,
    HostQuotaExceeded,
    HostThrottled,
    HostTimeout,
    HostUnavailable,
    HostUnreachable,
    ModelNotReady,
)
from lfv.client.hosting import HostedOutcome, ensure_hosted
from lfv.client.hosts import Units
from lfv.formats.status import ModelStatus
from tests.support.fake_model import FakeClock, FakeModel, FakeModelHost

PASSING = [HostThrottled("busy"), HostUnavailable("500"), HostUnreachable("no route")]


def up(model: FakeModel, clock: FakeClock, timeout: float = 1800, **more: Any) -> HostedOutcome:
    return ensure_hosted(
        FakeModelHost(model), Units(2, 4), "token-1", timeout=timeout, clock=clock, **more
    )


def test_start(model: FakeModel, clock: FakeClock) -> None:
    told: list[str] = []
    outcome = up(model, clock, progress=told.append)
    assert (outcome.started, outcome.adopted) == (True, False)
    assert outcome.hosted_at == clock.now()
    assert 120 <= clock.monotonic() <= 123  # a hosted model is billed, seen or not
    (call,) = [call for call in model.calls if call.operation == "StartModel"]
    assert (call.client_token, call.units) == ("token-1", Units(2, 4))
    assert told == [
        "TRAINED",
        "starting the model with 2 to 4 inference units",
        "STARTING_HOSTING",
        "HOSTED",
    ]
    assert model.count("DescribeModel") < 100


def test_a_hosted_model_is_adopted(model: FakeModel, clock: FakeClock) -> None:
    model.status = ModelStatus.HOSTED
    outcome = up(model, clock)
    assert (outcome.started, outcome.adopted) == (False, True)
    assert model.count("StartModel") == 0
    assert clock.monotonic() == 0


def test_a_model_that_somebody_else_is_starting_is_adopted(
    model: FakeModel, clock: FakeClock
) -> None:
    model.status = ModelStatus.STARTING_HOSTING
    model.later(100, ModelStatus.HOSTED)
    outcome = up(model, clock)
    assert (outcome.started, outcome.adopted) == (False, True)
    assert model.count("StartModel") == 0


def test_a_start_that_somebody_else_made_first(model: FakeModel, clock: FakeClock) -> None:
    """Both saw TRAINED. The other's StartModel came first, so ours is a conflict."""
    model.fail_next("StartModel", HostConflict("already starting"))

    def other_start(_: float) -> None:
        if model.count("StartModel") == 1:
            model.start(Units(1), "other")

    clock.on_wait = other_start
    outcome = up(model, clock)
    assert (outcome.started, outcome.adopted) == (False, True)


@pytest.mark.parametrize("status", [ModelStatus.STOPPING_HOSTING, ModelStatus.SYSTEM_UPDATING])
def test_a_transitional_status_is_waited_out(
    model: FakeModel, clock: FakeClock, status: ModelStatus
) -> None:
    model.status = status
    model.later(200, ModelStatus.TRAINED)
    outcome = up(model, clock)
    assert outcome.started
    assert clock.monotonic() >= 320


def test_an_update_of_a_hosted_model_is_waited_out(model: FakeModel, clock: FakeClock) -> None:
    model.status = ModelStatus.SYSTEM_UPDATING
    model.later(200, ModelStatus.HOSTED)
    assert up(model, clock).adopted


@pytest.mark.parametrize(
    "status", [ModelStatus.TRAINING, ModelStatus.TRAINING_FAILED, ModelStatus.DELETING]
)
def test_models_that_never_come_up(model: FakeModel, clock: FakeClock, status: ModelStatus) -> None:
    model.status = status
    with pytest.raises(ModelNotReady, match=status.value):
        up(model, clock)
    assert clock.monotonic() == 0


def test_a_start_that_fails(model: FakeModel, clock: FakeClock) -> None:
    def fail(_: float) -> None:
        if model.status is ModelStatus.STARTING_HOSTING:
            model.message = "no capacity"
            model.later(0, ModelStatus.HOSTING_FAILED)

    clock.on_wait = fail
    with pytest.raises(HostingFailed, match="no capacity"):
        up(model, clock)


def test_an_earlier_failure_is_retried(model: FakeModel, clock: FakeClock) -> None:
    model.status = ModelStatus.HOSTING_FAILED
    assert up(model, clock).started


def test_a_failure_that_cannot_be_retried(model: FakeModel, clock: FakeClock) -> None:
    model.status = ModelStatus.HOSTING_FAILED
    model.fail_next("StartModel", HostConflict("not in this state"), times=99)
    with pytest.raises(HostingFailed):
        up(model, clock)
    assert model.count("StartModel") == 1


def test_a_model_stopped_by_somebody_while_it_starts(model: FakeModel, clock: FakeClock) -> None:
    def stop(_: float) -> None:
        if clock.monotonic() > 20:
            model.status = ModelStatus.TRAINED

    clock.on_wait = stop
    with pytest.raises(HostingFailed, match="stopped meanwhile"):
        up(model, clock)
    assert model.count("StartModel") == 1


def test_a_status_that_lags_behind_the_start(clock: FakeClock) -> None:
    """StartModel was accepted, and DescribeModel returns TRAINED for a while."""
    model = FakeModel(clock=clock, start_seconds=60)
    model.fail_next("StartModel", HostTimeout("never raised"), times=0)
    accepted: list[float] = []

    class Lagging(FakeModelHost):
        def start(self, units: Units, client_token: str) -> Any:  # noqa: ARG002
            accepted.append(clock.monotonic())
            model.later(20, ModelStatus.STARTING_HOSTING)
            return model.describe()

        def describe(self) -> Any:
            if accepted and clock.monotonic() > 40:
                model.status = ModelStatus.HOSTED
            return model.describe()

    outcome = ensure_hosted(Lagging(model), Units(), "t", timeout=600, clock=clock)
    assert outcome.started
    assert len(accepted) == 1


def test_a_start_that_was_accepted_and_forgotten(clock: FakeClock) -> None:
    class Forgetful(FakeModelHost):
        def start(self, units: Units, client_token: str) -> Any:  # noqa: ARG002
            return self.model.describe()

    with pytest.raises(HostingFailed, match="did not come up"):
        ensure_hosted(Forgetful(FakeModel(clock=clock)), Units(), "t", timeout=600, clock=clock)
    assert 30 <= clock.monotonic() < 60


@pytest.mark.parametrize("happens", [True, False])
@pytest.mark.parametrize("error", [HostTimeout("lost"), HostUnavailable("500")])
def test_a_start_whose_answer_was_lost_counts_as_made(
    model: FakeModel, clock: FakeClock, error: HostError, happens: bool
) -> None:
    model.fail_next("StartModel", error, happens=happens)
    outcome = up(model, clock)
    assert (outcome.started, outcome.adopted) == (True, False)
    tokens = [call.client_token for call in model.calls if call.operation == "StartModel"]
    assert tokens == ["token-1"] * (1 if happens else 2)


def test_a_lost_start_that_takes_effect_late_counts_as_ours(
    model: FakeModel, clock: FakeClock
) -> None:
    model.fail_next("StartModel", HostTimeout("lost"), times=3)
    clock.on_wait = lambda _: (
        setattr(model, "status", ModelStatus.HOSTED) if model.count("StartModel") == 3 else None
    )
    assert up(model, clock).started


@pytest.mark.parametrize("error", PASSING)
def test_temporary_failures_are_retried(
    model: FakeModel, clock: FakeClock, error: HostError
) -> None:
    model.fail_next("StartModel", error, times=3)
    model.fail_next("DescribeModel", error, times=3)
    assert up(model, clock).started


@pytest.mark.parametrize("error", [HostAccessDenied("no"), HostQuotaExceeded("too many units")])
@pytest.mark.parametrize("operation", ["StartModel", "DescribeModel"])
def test_permanent_failures_are_raised(
    model: FakeModel, clock: FakeClock, error: HostError, operation: str
) -> None:
    model.fail_next(operation, error)
    with pytest.raises(type(error)):
        up(model, clock)
    assert clock.monotonic() == 0


def test_retry_after_is_honoured(model: FakeModel, clock: FakeClock) -> None:
    model.fail_next("StartModel", HostThrottled("busy", retry_after=33))
    up(model, clock)
    assert 33 in clock.waits
    model.status = ModelStatus.TRAINED
    model.fail_next("StartModel", HostThrottled("busy", retry_after=1e9))
    up(model, clock)
    assert max(clock.waits) == 60


def test_deadline_before_and_after_the_start(model: FakeModel, clock: FakeClock) -> None:
    with pytest.raises(HostingTimedOut, match="100 seconds; last: STARTING_HOSTING"):
        up(model, clock, timeout=100)
    assert clock.monotonic() == pytest.approx(100)
    model.status = ModelStatus.STOPPING_HOSTING
    with pytest.raises(HostingTimedOut):
        up(model, clock, timeout=5)


def test_a_deadline_while_the_service_is_down(model: FakeModel, clock: FakeClock) -> None:
    model.fail_next("DescribeModel", HostUnreachable("no route"), times=9999)
    with pytest.raises(HostingTimedOut, match="no route"):
        up(model, clock, timeout=60)


def test_the_stop_event_ends_the_waiting(model: FakeModel, clock: FakeClock) -> None:
    stop = threading.Event()
    clock.on_wait = lambda _: stop.set() if clock.monotonic() > 10 else None
    with pytest.raises(HostingInterrupted):
        up(model, clock, stop_event=stop)
    assert clock.monotonic() < 25


def test_an_interrupt_before_the_first_call(model: FakeModel, clock: FakeClock) -> None:
    stop = threading.Event()
    stop.set()
    model.status = ModelStatus.STOPPING_HOSTING
    with pytest.raises(HostingInterrupted):
        up(model, clock, stop_event=stop)


def test_the_real_clock_ends_waits_at_once() -> None:
    stop = threading.Event()
    threading.Timer(0.05, stop.set).start()
    model = FakeModel(status=ModelStatus.SYSTEM_UPDATING)
    with pytest.raises(HostingInterrupted):
        ensure_hosted(
            FakeModelHost(model),
            Units(),
            "t",
            timeout=60,
            stop_event=stop,
            poll=Backoff(30, 1, 30),
        )


def test_errors_of_hosting_have_a_remedy() -> None:
    assert HostingTimedOut("x").retryable
    assert not HostingFailed("x").retryable
