"""A model in memory, for tests of everything that uses a ModelHost.

    model = FakeModel(answers=lambda body: anomalous(0.9))
    host = FakeModelHost(model)
    model.fail_next("StartModel", HostTimeout("lost"), happens=True)

All hosts on one FakeModel share its state, as hosts on one real model do. The model counts every
call and remembers each with its time, so that "never left running" is an assertion:
`assert not model.is_up`.
"""

from __future__ import annotations

import hashlib
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from unittest import mock

from lfv.client.clock import SYSTEM_CLOCK, Clock
from lfv.client.errors import HostConflict, HostError, HostThrottled
from lfv.client.hosts import registry
from lfv.client.hosts.protocol import Detection, HostSpec, ModelState, Units
from lfv.client.retry import RetryPolicy, call_with_retries
from lfv.formats.answers import Anomaly, DetectAnomalyResult
from lfv.formats.status import ModelStatus

FAKE_KIND = "fake"


class FakeClock(Clock):
    """A clock that advances only in waits, or when a test advances it."""

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._start = start
        self._seconds = 0.0
        self._lock = threading.Lock()
        self.waits: list[float] = []
        self.on_wait: Callable[[float], object] = lambda _: None

    def monotonic(self) -> float:
        return self._seconds

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self._seconds)

    def wait(self, seconds: float, stop: threading.Event | None = None) -> bool:
        with self._lock:
            self.waits.append(seconds)
        self.on_wait(seconds)
        if stop is not None and stop.is_set():
            return True
        self.advance(seconds)
        return stop is not None and stop.is_set()

    def advance(self, seconds: float) -> None:
        with self._lock:
            self._seconds += max(0.0, seconds)


@dataclass(frozen=True)
class Call:
    """One call of a host: its name in the API, time and arguments."""

    operation: str
    at: datetime
    client_token: str = ""
    units: Units | None = None
    image_sha256: str = ""
    content_type: str = ""


@dataclass
class _Failure:
    error: HostError
    happens: bool


def normal(confidence: float = 0.95) -> DetectAnomalyResult:
    """A classification model's answer."""
    return DetectAnomalyResult(is_anomalous=False, confidence=confidence)


def anomalous(confidence: float = 0.95, **areas: float) -> DetectAnomalyResult:
    """An answer; with `areas` (anomaly type = fraction of the image), a segmentation model's."""
    found: tuple[Anomaly, ...] | None = None
    if areas:
        found = (
            Anomaly("background", 1.0 - sum(areas.values()), "#FFFFFF"),
            *(
                Anomaly(name, area, f"#{index * 0x111111:06X}")
                for index, (name, area) in enumerate(areas.items(), 1)
            ),
        )
    return DetectAnomalyResult(is_anomalous=True, confidence=confidence, anomalies=found)


class FakeModel:
    """The model behind FakeModelHosts: its states, its answers, and its recorded calls.

    `start_seconds` and `stop_seconds` are how long starting and stopping take on `clock`; zero is
    at once. `answers` returns the answer for an image's bytes, or raises a HostError.
    """

    def __init__(
        self,
        *,
        answers: Callable[[bytes], DetectAnomalyResult] = lambda _: normal(),
        status: ModelStatus = ModelStatus.TRAINED,
        start_seconds: float = 0.0,
        stop_seconds: float = 0.0,
        project: str = "fake-project",
        version: str = "1",
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.answers = answers
        self.start_seconds = start_seconds
        self.stop_seconds = stop_seconds
        self.project = project
        self.version = version
        self.clock = clock
        self.calls: list[Call] = []
        self.created_at = datetime(2026, 1, 1, tzinfo=UTC)
        self.message = ""
        self.units: Units | None = None
        self._status = status
        self._changes_at: float | None = None
        self._failures: dict[str, deque[_Failure]] = {}
        self._tokens: set[str] = set()
        self._lock = threading.RLock()

    # -- for tests --

    @property
    def status(self) -> ModelStatus:
        with self._lock:
            self._settle()
            return self._status

    @status.setter
    def status(self, value: ModelStatus) -> None:
        """Put the model into a state, like another client."""
        with self._lock:
            self._status = value
            self._changes_at = None

    @property
    def is_up(self) -> bool:
        """Whether it is billed."""
        return self.status.is_up or self.status is ModelStatus.STOPPING_HOSTING

    def count(self, operation: str) -> int:
        with self._lock:
            return sum(call.operation == operation for call in self.calls)

    @property
    def asked(self) -> list[str]:
        """SHA-256 of the image of each DetectAnomalies call, in order."""
        with self._lock:
            return [call.image_sha256 for call in self.calls if call.image_sha256]

    def fail_next(
        self, operation: str, error: HostError, *, times: int = 1, happens: bool = False
    ) -> None:
        """Let the next calls of `operation` raise; with `happens`, after they took effect."""
        with self._lock:
            queue = self._failures.setdefault(operation, deque())
            queue.extend(_Failure(error, happens) for _ in range(times))

    def later(self, seconds: float, then: ModelStatus) -> None:
        """Change to `then` after `seconds` on the clock, instead of the change in progress."""
        with self._lock:
            self._next = then
            self._changes_at = self.clock.monotonic() + seconds

    # -- for hosts --

    def describe(self) -> ModelState:
        with self._lock:
            self._record(Call("DescribeModel", self.clock.now()))
            return self._state()

    def start(self, units: Units, client_token: str) -> ModelState:
        with self._lock:
            call = Call("StartModel", self.clock.now(), client_token, units)
            failure = self._record(call, raise_now=False)
            if failure is None or failure.happens:
                self._settle()
                if client_token not in self._tokens or not self.is_up:
                    if self._status not in (ModelStatus.TRAINED, ModelStatus.HOSTING_FAILED):
                        raise HostConflict(f"The model is {self._status}.", operation="StartModel")
                    self._tokens.add(client_token)
                    self.units = units
                    self._status = ModelStatus.STARTING_HOSTING
                    self.later(self.start_seconds, ModelStatus.HOSTED)
            if failure is not None:
                raise failure.error
            return self._state()

    def stop(self, client_token: str) -> ModelState:
        with self._lock:
            failure = self._record(
                Call("StopModel", self.clock.now(), client_token), raise_now=False
            )
            if failure is None or failure.happens:
                self._settle()
                if self._status is not ModelStatus.HOSTED:
                    raise HostConflict(f"The model is {self._status}.", operation="StopModel")
                self._status = ModelStatus.STOPPING_HOSTING
                self.later(self.stop_seconds, ModelStatus.TRAINED)
            if failure is not None:
                raise failure.error
            return self._state()

    def detect(self, body: bytes, content_type: str = "image/png") -> DetectAnomalyResult:
        with self._lock:
            digest = hashlib.sha256(body).hexdigest()
            self._record(
                Call(
                    "DetectAnomalies",
                    self.clock.now(),
                    image_sha256=digest,
                    content_type=content_type,
                )
            )
            self._settle()
            if self._status is not ModelStatus.HOSTED:
                raise HostConflict("The model is not hosted.", operation="DetectAnomalies")
        return self.answers(body)

    def _record(self, call: Call, *, raise_now: bool = True) -> _Failure | None:
        self.calls.append(call)
        queue = self._failures.get(call.operation)
        failure = queue.popleft() if queue else None
        if failure is not None and raise_now:
            raise failure.error
        return failure

    def _settle(self) -> None:
        if self._changes_at is not None and self.clock.monotonic() >= self._changes_at:
            self._changes_at = None
            self._status = self._next

    def _state(self) -> ModelState:
        self._settle()
        return ModelState(
            status=self._status,
            message=self.message,
            model_arn=f"arn:aws:lookoutvision:us-east-1:000000000000:model/{self.project}/"
            f"{self.version}",
            project=self.project,
            version=self.version,
            created_at=self.created_at,
            min_inference_units=self.units.minimum if self.units else None,
            max_inference_units=self.units.maximum if self.units else None,
        )

    _next: ModelStatus = ModelStatus.TRAINED


@dataclass
class FakeModelHost:
    """ModelHost on a FakeModel; `closed` is whether it was closed."""

    model: FakeModel
    retries: RetryPolicy = field(default_factory=lambda: RetryPolicy(attempts=3))
    closed: bool = False
    _requests: int = 0

    @property
    def spec(self) -> HostSpec:
        return HostSpec(FAKE_KIND, self.model.project, self.model.version)

    def describe(self) -> ModelState:
        return self.model.describe()

    def start(self, units: Units, client_token: str) -> ModelState:
        return self.model.start(units, client_token)

    def stop(self, client_token: str) -> ModelState:
        return self.model.stop(client_token)

    def detect(
        self,
        body: bytes,
        content_type: str,
        *,
        stop_event: threading.Event | None = None,
    ) -> Detection:
        began = self.model.clock.monotonic()
        result, attempts = call_with_retries(
            lambda: self.model.detect(body, content_type),
            self.retries,
            final=HostThrottled,
            stop_event=stop_event,
            clock=self.model.clock,
        )
        self._requests += 1
        latency_ms = (self.model.clock.monotonic() - began) * 1000.0
        return Detection(result, f"fake-{self._requests}", latency_ms, attempts)

    def close(self) -> None:
        self.closed = True


@contextmanager
def fake_hosts(model: FakeModel) -> Iterator[HostSpec]:
    """Yield a spec for which `open_host` opens a host on `model` within the block."""
    with mock.patch.dict(registry._KINDS, {FAKE_KIND: lambda _: FakeModelHost(model)}):
        yield HostSpec(FAKE_KIND, model.project, model.version)
