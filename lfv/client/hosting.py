"""Start a model and wait until it is up; stop it and wait until it is down.

StartModel and StopModel return minutes before they are done, may be called by others at the same
time, and may take effect although the call failed. So the result of a call proves nothing here:
the model's status decides, and calls are repeated until the status is the desired one.

Works with any ModelHost. Waits with `clock.wait`, which returns at once when a stop event is set.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from lfv.client.clock import SYSTEM_CLOCK, Backoff, Clock
from lfv.client.errors import (
    HostConflict,
    HostError,
    HostingFailed,
    HostingInterrupted,
    HostingTimedOut,
    ModelNotFound,
    ModelNotReady,
)
from lfv.client.hosts.protocol import ModelHost, ModelState, Units
from lfv.formats.status import ModelStatus
from lfv.formats.words import count_of

Progress = Callable[[str], None]

#: Seconds after StartModel was accepted in which the host may still report the old status.
_START_GRACE = 30.0

_STOP_GRACE = 15.0
_LONGEST_RETRY_AFTER = 60.0

#: On average, a hosted model is noticed late by 5% of its starting time. The embedded service
#: starts a model in three seconds, others take minutes.
_START_POLL = Backoff(0.1, 1.1, 2.5)
_STARTABLE = frozenset({ModelStatus.TRAINED, ModelStatus.HOSTING_FAILED})
_NEVER_UP = frozenset({ModelStatus.TRAINING, ModelStatus.TRAINING_FAILED, ModelStatus.DELETING})
_DOWN = _STARTABLE | _NEVER_UP


@dataclass(frozen=True)
class HostedOutcome:
    """A model that is up.

    Exactly one is true: `started` if a StartModel of this call started it, `adopted` if it was
    started elsewhere. `hosted_at` is when it was first seen HOSTED, in UTC.
    """

    started: bool
    adopted: bool
    hosted_at: datetime
    state: ModelState


@dataclass(frozen=True)
class StoppedOutcome:
    """A model that is down. `was_up`: it was up during this call. `attempts`: StopModel calls."""

    was_up: bool
    attempts: int
    stopped_at: datetime
    state: ModelState | None


@dataclass
class _Watch:
    """What starting and stopping share: reading the status, waiting, reporting."""

    host: ModelHost
    timeout: float
    stop_event: threading.Event | None
    clock: Clock
    progress: Progress
    poll: Backoff
    began: float = field(init=False)
    polls: int = 0
    status: ModelStatus | None = None
    reported: str = ""

    def __post_init__(self) -> None:
        self.began = self.clock.monotonic()

    @property
    def elapsed(self) -> float:
        return self.clock.monotonic() - self.began

    def describe(self) -> ModelState | HostError:
        """Return the model's state, or the retryable error that prevented reading it."""
        try:
            state = self.host.describe()
        except HostError as error:
            if not error.retryable:
                raise
            self.report(f"reading the model's status failed, retrying: {error}")
            return error
        if state.status is not self.status:
            self.status = state.status
            self.polls = 0  # the status changes: poll again soon
        return state

    def report(self, text: str) -> None:
        if text != self.reported:
            self.reported = text
            self.progress(text)

    def wait(self, error: HostError | None, action: str, goal: str) -> None:
        """Wait before the next poll. Raises HostingInterrupted or HostingTimedOut.

        `action` and `goal` name in messages what is done and what the model has to become.
        """
        self.polls += 1
        seconds = self.poll.seconds(self.polls)
        if error is not None and error.retry_after is not None:
            seconds = max(seconds, min(error.retry_after, _LONGEST_RETRY_AFTER))
        left = self.timeout - self.elapsed
        stop = self.stop_event
        is_stopped = stop is not None and stop.is_set()
        if left > 0 and not is_stopped and not self.clock.wait(min(seconds, left), stop):
            return
        if stop is not None and stop.is_set():
            raise HostingInterrupted(f"{action} the model was interrupted.")
        raise HostingTimedOut(
            f"The model was not {goal} within {self.timeout:.0f} seconds"
            + (f"; last: {self.reported}." if self.reported else ".")
        )


def ensure_hosted(
    host: ModelHost,
    units: Units,
    client_token: str,
    *,
    timeout: float,
    stop_event: threading.Event | None = None,
    progress: Progress = lambda _: None,
    sending: Callable[[bool], None] = lambda _: None,
    poll: Backoff | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> HostedOutcome:
    """Start the model unless it is starting already, and return once it is HOSTED.

    STOPPING_HOSTING and SYSTEM_UPDATING are waited out. A StartModel whose response was lost may
    have taken effect; it is repeated with the same `client_token`, so that there is one start.

    Args:
        host: The model's host.
        units: Inference units to start with.
        client_token: Makes repeated StartModel calls one start.
        timeout: Seconds until the model must be HOSTED.
        stop_event: Ends the wait when set.
        progress: Called with a few words at each change.
        sending: Called with True before each StartModel and with False once its result is known.
            Whatever this function raises, the caller knows if a start may still take effect.
        poll: Pauses between two calls of DescribeModel.
        clock: Time and waiting.

    Raises:
        ModelNotReady: The model is in training, failed in training or is being deleted.
        HostingFailed: The model did not start.
        HostingTimedOut: `timeout` is over.
        HostingInterrupted: `stop_event` was set.
        HostError: The host refuses. If `operation` is StartModel, the model was not started.
    """
    watch = _Watch(host, timeout, stop_event, clock, progress, poll or _START_POLL)
    before: ModelStatus | None = None  # the status when our StartModel was accepted
    accepted_at = 0.0
    requested = False  # our StartModel may have taken effect
    came_up = False  # since then the model was seen starting
    while True:
        error: HostError | None = None
        state = watch.describe()
        if isinstance(state, HostError):
            error = state
        else:
            watch.report(_words(state))
            status = state.status
            if status is ModelStatus.HOSTED:
                return HostedOutcome(requested, not requested, clock.now(), state)
            if status in _NEVER_UP:
                raise ModelNotReady(f"The model cannot be hosted: {_words(state)}.")
            if status is ModelStatus.STARTING_HOSTING:
                came_up = came_up or requested
            elif status in _STARTABLE and before is None and not came_up:
                sending(True)
                error, sent = _try_start(host, units, client_token, watch, state)
                # A throttled call says nothing about an earlier call without response.
                if error is None or isinstance(error, HostConflict) or not (requested or sent):
                    sending(False)
                requested = requested or sent
                if sent and error is None:
                    before, accepted_at = status, watch.elapsed
            elif status in _STARTABLE:
                lagging = status is before and watch.elapsed - accepted_at < _START_GRACE
                if came_up or not lagging:
                    raise HostingFailed(_why_failed(state))
        watch.wait(error, "Starting", "hosted")


def _try_start(
    host: ModelHost, units: Units, client_token: str, watch: _Watch, state: ModelState
) -> tuple[HostError | None, bool]:
    """Call StartModel; return the retryable error or None, and whether it may have taken effect."""
    watch.report(f"starting the model with {_units(units)}")
    try:
        host.start(units, client_token)
    except HostConflict as error:
        if state.status is ModelStatus.HOSTING_FAILED:
            raise HostingFailed(_why_failed(state)) from error
        return error, False  # another caller was faster; the next status shows the result
    except HostError as error:
        if not error.retryable:
            raise
        watch.report(f"starting the model failed, retrying: {error}")
        return error, error.ambiguous
    return None, True


def ensure_stopped(
    host: ModelHost,
    client_token: str,
    *,
    timeout: float,
    stop_event: threading.Event | None = None,
    is_settled: Callable[[], bool] = lambda: False,
    progress: Progress = lambda _: None,
    poll: Backoff | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> StoppedOutcome:
    """Stop the model, and return once it is down. Safe to repeat and to call concurrently.

    StopModel is called before the status is read, because a model that is up costs money. Failures
    are retried until `timeout` seconds are over. A model that no longer exists counts as stopped.

    Each StopModel has a ClientToken of its own, which starts with 31 characters of `client_token`.
    With a repeated token, the service would not stop a model that was started again in between. A
    second stop of a stopping model is only a conflict.

    Args:
        host: The model's host.
        client_token: Begins the ClientToken of each StopModel.
        timeout: Seconds.
        stop_event: Interrupts the wait.
        is_settled: Whether somebody else has seen the model stopped. Called while the model is up
            after an accepted StopModel: it may have been stopped and started again between two
            looks, and that start must not be undone.
        progress: Called with the status.
        poll: Seconds between two looks.
        clock: For tests.

    Raises:
        HostingTimedOut: `timeout` is over.
        HostingInterrupted: `stop_event` was set.
        HostError: The host refuses.
    """
    watch = _Watch(host, timeout, stop_event, clock, progress, poll or Backoff(0.2, 1.5, 5.0))
    attempts = 0
    was_up = False
    send = True
    sent_at = 0.0
    while True:
        error: HostError | None = None
        try:
            if send:
                attempts += 1
                answer = _try_stop(host, client_token, watch)
                sent_at = watch.elapsed
                send = isinstance(answer, HostError)
                if isinstance(answer, HostError):
                    error = answer
                elif answer.status not in _DOWN:
                    was_up = True  # it may be down before the next poll
            state = watch.describe()
        except ModelNotFound:
            return StoppedOutcome(was_up, attempts, clock.now(), None)
        if isinstance(state, HostError):
            error = error or state
        else:
            watch.report(_words(state))
            if state.status in _DOWN:
                return StoppedOutcome(was_up, attempts, clock.now(), state)
            was_up = True
            if not send and state.status is not ModelStatus.STOPPING_HOSTING and is_settled():
                return StoppedOutcome(was_up, attempts, clock.now(), None)
            # A model that is starting or updating refuses StopModel; repeat it once HOSTED.
            # A model may still report HOSTED for a while after StopModel was accepted.
            send = send or (
                state.status is ModelStatus.HOSTED and watch.elapsed - sent_at >= _STOP_GRACE
            )
        watch.wait(error, "Stopping", "reported stopped")


def _try_stop(host: ModelHost, client_token: str, watch: _Watch) -> ModelState | HostError:
    """Call StopModel; return the state, or the error after which it must be repeated."""
    try:
        return host.stop(f"{client_token[:31]}-{uuid.uuid4().hex}")
    except HostConflict as error:
        return error  # already down, or still starting: the status shows which
    except ModelNotFound:
        raise
    except HostError as error:
        if not error.retryable:
            raise
        watch.report(f"stopping the model failed, retrying: {error}")
        return error


def _words(state: ModelState) -> str:
    if state.status is ModelStatus.TRAINED:
        return "TRAINED"  # its message is about the training
    return f"{state.status} ({state.message})" if state.message else str(state.status)


def _why_failed(state: ModelState) -> str:
    if state.status is ModelStatus.HOSTING_FAILED:
        return f"The model could not be hosted: {state.message or 'no reason was given'}."
    return "The model did not come up after StartModel was accepted, or was stopped meanwhile."


def _units(units: Units) -> str:
    if units.maximum is None or units.maximum == units.minimum:
        return count_of(units.minimum, "inference unit")
    return f"{units.minimum} to {units.maximum} inference units"
