"""Bringing a model up, and down again, and knowing that it is.

Starting and stopping take minutes, are answered before they are done, can be asked for by others
at the same time, and may have happened although the call failed. So nothing here trusts a call:
the model's status decides, and calls are repeated until the status is what was asked for.

Works with any ModelHost. Waiting is `clock.wait`, which a stop event ends at once.
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

_START_GRACE = 30.0
"""Seconds for which a status from before the start may still be shown after it was accepted."""

_STOP_GRACE = 15.0
_LONGEST_RETRY_AFTER = 60.0

_STARTABLE = frozenset({ModelStatus.TRAINED, ModelStatus.HOSTING_FAILED})
_NEVER_UP = frozenset({ModelStatus.TRAINING, ModelStatus.TRAINING_FAILED, ModelStatus.DELETING})
_DOWN = _STARTABLE | _NEVER_UP


@dataclass(frozen=True)
class HostedOutcome:
    """`started`: our StartModel brought it up. `adopted`: somebody else's did; exactly one holds.

    `hosted_at` is when it was seen HOSTED, in UTC.
    """

    started: bool
    adopted: bool
    hosted_at: datetime
    state: ModelState


@dataclass(frozen=True)
class StoppedOutcome:
    """`was_up`: it was up after we were called. `attempts` counts StopModel calls."""

    was_up: bool
    attempts: int
    stopped_at: datetime
    state: ModelState | None


@dataclass
class _Watch:
    """The parts that bringing up and bringing down share: looking, waiting, telling."""

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
        """The state, or the passing failure that kept us from knowing it."""
        try:
            state = self.host.describe()
        except HostError as error:
            if not error.retryable:
                raise
            self.report(f"asking for the model's status failed, trying again: {error}")
            return error
        if state.status is not self.status:
            self.status = state.status
            self.polls = 0  # things move: look again soon
        return state

    def report(self, text: str) -> None:
        if text != self.reported:
            self.reported = text
            self.progress(text)

    def wait(self, error: HostError | None = None) -> bool:
        """Wait before looking again; False when time is over or the stop event is set."""
        self.polls += 1
        seconds = self.poll.seconds(self.polls)
        if error is not None and error.retry_after is not None:
            seconds = max(seconds, min(error.retry_after, _LONGEST_RETRY_AFTER))
        left = self.timeout - self.elapsed
        if left <= 0 or (self.stop_event is not None and self.stop_event.is_set()):
            return False
        return not self.clock.wait(min(seconds, left), self.stop_event)

    @property
    def interrupted(self) -> bool:
        return self.stop_event is not None and self.stop_event.is_set()


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
    """Return once the model is HOSTED; start it if nobody else does.

    STOPPING_HOSTING and SYSTEM_UPDATING are waited out. A StartModel call whose answer was lost
    counts as made, and is repeated with the same `client_token`, so that it stays one start.
    `progress` gets each change in a few words. `sending` gets True before each
    StartModel and False once it is answered, so that its caller knows, however this ends, whether a
    start may still be on its way. `timeout` is in seconds.

    Raises ModelNotReady (in training, being deleted), HostingFailed, HostingTimedOut,
    HostingInterrupted (`stop_event`); and HostError when the host
    refuses for good. When such an error's `operation` is StartModel, the start did not happen.
    """
    watch = _Watch(host, timeout, stop_event, clock, progress, poll or Backoff(0.1, 1.3, 2.0))
    before: ModelStatus | None = None  # the status when a StartModel of ours was accepted
    accepted_at = 0.0
    requested = False  # a StartModel of ours may have had its effect
    came_up = False  # since then the model was seen on its way up
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
                # Throttled now says nothing of an earlier call that was not answered.
                if error is None or isinstance(error, HostConflict) or not (requested or sent):
                    sending(False)
                requested = requested or sent
                if sent and error is None:
                    before, accepted_at = status, watch.elapsed
            elif status in _STARTABLE:
                lagging = status is before and watch.elapsed - accepted_at < _START_GRACE
                if came_up or not lagging:
                    raise HostingFailed(_why_failed(state))
        if not watch.wait(error):
            if watch.interrupted:
                raise HostingInterrupted("Starting the model was interrupted.")
            raise HostingTimedOut(
                f"The model was not hosted within {timeout:.0f} seconds"
                + (f"; last: {watch.reported}." if watch.reported else ".")
            )


def _try_start(
    host: ModelHost, units: Units, client_token: str, watch: _Watch, state: ModelState
) -> tuple[HostError | None, bool]:
    """(the failure to wait after, whether the start may have happened)."""
    watch.report(f"starting the model with {_units(units)}")
    try:
        host.start(units, client_token)
    except HostConflict as error:
        if state.status is ModelStatus.HOSTING_FAILED:
            raise HostingFailed(_why_failed(state)) from error
        return error, False  # somebody was quicker; the status shows what they did
    except HostError as error:
        if not error.retryable:
            raise
        watch.report(f"starting the model failed, trying again: {error}")
        return error, error.ambiguous
    return None, True


def ensure_stopped(
    host: ModelHost,
    client_token: str,
    *,
    timeout: float,
    stop_event: threading.Event | None = None,
    progress: Progress = lambda _: None,
    poll: Backoff | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> StoppedOutcome:
    """Return once the model is seen down; safe to call again and again, by several at once.

    StopModel is sent first and looking comes second, because a model that is up costs money. What
    fails is tried again until `timeout` (seconds) is over. A model that no longer exists counts
    as stopped.

    Each StopModel gets a ClientToken of its own, which begins with `client_token` (31 characters
    of it): a service that remembers tokens would answer a repeated one without stopping a model
    that came up again in between, while a second stop of a stopping model is just a conflict.

    Raises HostingTimedOut, HostingInterrupted, and HostError when the host refuses for good.
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
                    was_up = True  # it may be down by the time that we look
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
            # A model on its way up or being updated refuses StopModel; ask again when it is up.
            # One that still shows HOSTED after StopModel was accepted gets a moment.
            send = send or (
                state.status is ModelStatus.HOSTED and watch.elapsed - sent_at >= _STOP_GRACE
            )
        if not watch.wait(error):
            if watch.interrupted:
                raise HostingInterrupted("Stopping the model was interrupted.")
            raise HostingTimedOut(
                f"The model was not seen stopped within {timeout:.0f} seconds"
                + (f"; last: {watch.reported}." if watch.reported else ".")
            )


def _try_stop(host: ModelHost, client_token: str, watch: _Watch) -> ModelState | HostError:
    """StopModel's answer when it was accepted, else why it must be sent again."""
    try:
        return host.stop(f"{client_token[:31]}-{uuid.uuid4().hex}")
    except HostConflict as error:
        return error  # down already, or on its way up: the status shows which
    except ModelNotFound:
        raise
    except HostError as error:
        if not error.retryable:
            raise
        watch.report(f"stopping the model failed, trying again: {error}")
        return error


def _words(state: ModelState) -> str:
    if state.status is ModelStatus.TRAINED:
        return "TRAINED"  # its message is on the training, long ago
    return f"{state.status} ({state.message})" if state.message else str(state.status)


def _why_failed(state: ModelState) -> str:
    if state.status is ModelStatus.HOSTING_FAILED:
        return f"The model could not be hosted: {state.message or 'no reason was given'}."
    return "The model did not come up after StartModel was accepted, or was stopped meanwhile."


def _units(units: Units) -> str:
    if units.maximum is None or units.maximum == units.minimum:
        return count_of(units.minimum, "inference unit")
    return f"{units.minimum} to {units.maximum} inference units"
