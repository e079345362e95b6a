"""A run that is planned and open, on a model in memory: detection without flows and processes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from uuid import uuid4

from lfv.client.errors import HostThrottled
from lfv.client.policy import Policy
from lfv.client.retry import RetryPolicy
from lfv.formats.answers import DetectAnomalyResult
from lfv.formats.status import ModelStatus
from lfv.run.active import ActiveRun, open_reader
from lfv.run.context import InspectionRequest, RunContext
from lfv.run.control import RunControl
from lfv.settings import Settings
from lfv_store import ImageFacts, ModelKey, NewRun, PendingItem, Store
from tests.support.fake_model import FakeModel, FakeModelHost, normal


@dataclass
class BusyModel:
    """Answers after `seconds`, and throttles what exceeds `capacity` requests in flight.

    `serial_seconds` is work that requests do one at a time, `retry_after` the refusals' wait.
    """

    capacity: float = float("inf")
    seconds: float = 0.005
    serial_seconds: float = 0.0
    retry_after: float | None = None
    in_flight: int = 0
    peak: int = 0
    answered: int = 0
    throttled: int = 0
    on_answer: Callable[[int], None] = lambda _: None
    answered_at: list[float] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _line: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, _: bytes) -> DetectAnomalyResult:
        with self._lock:
            if self.in_flight >= self.capacity:
                self.throttled += 1
                raise HostThrottled("busy", retry_after=self.retry_after)
            self.in_flight += 1
            self.peak = max(self.peak, self.in_flight)
        try:
            time.sleep(self.seconds)
            if self.serial_seconds:
                with self._line:
                    time.sleep(self.serial_seconds)
        finally:
            with self._lock:
                self.in_flight -= 1
                self.answered += 1
                self.answered_at.append(time.monotonic())
                answered = self.answered
        self.on_answer(answered)
        return normal()


@contextmanager
def planned_run(
    folder: Path,
    store: Store,
    answers: Callable[[bytes], DetectAnomalyResult],
    images: int,
    **settings: object,
) -> Iterator[ActiveRun]:
    """A run whose model is hosted and whose images all wait for detection."""
    folder.mkdir(parents=True, exist_ok=True)
    model = FakeModel(answers=answers, status=ModelStatus.HOSTED, project=f"project-{uuid4()}")
    model_id = store.models.register(
        ModelKey("fake", str(uuid4()), model.project, model.version, model.created_at)
    )
    policy = Policy.from_confidence(0.8).to_dict()
    run = store.runs.start(
        NewRun(
            run_id=str(uuid4()),
            project_name=model.project,
            model_version=model.version,
            host="fake",
            source=str(folder),
            policy=policy,
            started_at=datetime.now(UTC),
            model_id=model_id,
        )
    )
    items = []
    for number in range(1, images + 1):
        body = f"{folder} {number}".encode()
        path = folder / f"{number}.png"
        path.write_bytes(body)
        facts = ImageFacts(sha256(body).hexdigest(), "PNG", 64, 64, len(body))
        items.append(PendingItem(number, str(path), facts))
    store.inspections.plan(run.run_id, pending=items, through_line=images)
    store.runs.set_manifest(run.run_id, "0" * 64, images)
    context = RunContext(
        run_id=run.run_id,
        model_id=model_id,
        request=InspectionRequest(str(folder), model.project),
        model_version=model.version,
        endpoint_url=None,
        embedded=False,
        policy=policy,
        expected_size=None,
        planned_through=images,
        settings=Settings(home=folder, **settings),  # type: ignore[arg-type]
    )
    with open_reader(context.settings) as reader:
        host = FakeModelHost(model, RetryPolicy(attempts=1))
        yield ActiveRun(context, store, reader, host, RunControl())
