"""The stream of a run's images through the model: read and check, detect, commit.

Threads take images from one queue. Each reads and checks its image, waits for a permit, calls the
model, returns the permit and passes the answer to the thread that commits. A permit is held only
during the call, so neither reading nor committing keeps the model waiting. The limit of permits
adapts to the model and applies to all its calls from this process; see `lfv.client.in_flight`.

A crash loses the answers that are not committed. Together with the requests in flight, they never
exceed the hard ceiling, `LFV_REQUESTS_PER_UNIT` for each inference unit.

A throttled image returns to the queue and is tried again until the run ends. It is never recorded
as an error. Any other failed call is the fault of the image or of the host. The host's client
retries calls that can be retried. If that does not help, the failure is deferred. Once the model
has answered for another image, the failure is recorded as the image's own. If only deferred
failures are left of a batch, they are recorded if the model has answered in this run and its host
reports it as hosted. Otherwise the run ends, and can be resumed later.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Self

from lfv.client.clock import Backoff
from lfv.client.errors import (
    HostAccessDenied,
    HostConflict,
    HostError,
    HostThrottled,
    ModelNotFound,
)
from lfv.client.hosts import Detection
from lfv.formats.errors import (
    CredentialsRefused,
    LfvError,
    ResponseInvalid,
    SourceError,
)
from lfv.formats.images import CONTENT_TYPES
from lfv.formats.status import ModelStatus
from lfv.run import inspection_records
from lfv.run.control import Ending
from lfv.run.detection.group_commit import GroupCommit
from lfv.run.detection.image_queue import ImageQueue, QueuedImage
from lfv.run.detection.threads import InterpreterWatch, ThreadGroup
from lfv_store import ModelPace, NewDetection, NewInspection, PendingItem, StoreError

if TYPE_CHECKING:
    from lfv.run.active import ActiveRun

logger = logging.getLogger(__name__)

#: Consecutive failed images after which the run gives up.
GIVE_UP_AFTER = 10
#: How long a throttled image waits: at least the backoff, and longer if the service says so, up to
#: the longest.
THROTTLED_BACKOFF = Backoff(first=0.1, longest=5.0)
LONGEST_RETRY_AFTER_SECONDS = 60.0
#: How long the stream waits for its threads when the run ends with an error.
_DRAIN_SECONDS = 2.0
#: The fewest answers of a run for which the model's pace is stored.
_FEWEST_FOR_PACE = 10


@dataclass(eq=False)
class Batch:
    """Images that were added together, and their results.

    `active` counts the images that a thread is working on or that wait for their commit.
    """

    images: int
    answered: int = 0
    errors: int = 0
    active: int = 0
    failures: list[_Failure] = field(default_factory=list)

    @property
    def left(self) -> int:
        """Images without a record."""
        return self.images - self.answered - self.errors


@dataclass(frozen=True, eq=False)
class _Failure:
    """A failure that may be the image's own or the host's."""

    inspection: NewInspection
    error: LfvError
    answers_before: int


@dataclass(frozen=True)
class _Record:
    """A record that waits for its commit; `unsettled` if it still counts as such."""

    inspection: NewInspection
    batch: Batch
    unsettled: bool


class DetectionStream:
    """Runs detection on the images of one run; all batches of a process share its stream.

    A context manager, open as `run.stream` in its block. Its methods are thread-safe.

    Problems of the host or the store end the run through its control and are not raised, so that
    every answer that is already paid for is stored first.
    """

    def __init__(self, run: ActiveRun) -> None:
        self._run = run
        self._control = run.control
        self._policy = run.context.parsed_policy()
        self._limit = run.limit
        self._ceiling = run.context.ceiling
        #: Limits the images that are being detected or whose answer is not committed yet.
        self._unsettled = threading.Semaphore(self._ceiling)
        self._queue: ImageQueue[Batch] = ImageQueue()
        self._commits: GroupCommit[_Record] = GroupCommit(
            self._store, self._settle_records, urgent=self._are_urgent
        )
        self._changed = threading.Condition()
        self._threads = ThreadGroup(self._process_next, self._most_threads, "detect")
        self._batches: list[Batch] = []
        self._answered = 0
        self._last_answer = time.monotonic()
        self._error: BaseException | None = None
        self._opened = ExitStack()

    def __enter__(self) -> Self:
        self._opened.callback(setattr, self._run, "stream", None)
        self._commits.start()
        self._opened.enter_context(InterpreterWatch(self._limit.record_interpreter_wait))
        self._opened.enter_context(self._control.on_end(self._end))
        self._run.stream = self
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Let the threads finish; if the block raised, for a short time only."""
        with self._opened:
            self._end()
            deadline = None if kind is None else time.monotonic() + _DRAIN_SECONDS
            self._threads.join(deadline)
            self._commits.close(None if deadline is None else max(0.1, deadline - time.monotonic()))
        if kind is None:
            self._store_pace()

    def _store_pace(self) -> None:
        """Store the model's measured pace, from which the next run starts."""
        pace, run = self._limit.pace, self._run
        if pace is None or self._answered < _FEWEST_FOR_PACE:
            return
        found = ModelPace(
            in_flight=pace.in_flight,
            inference_units=run.context.units.minimum,
            latency_ms=pace.latency_ms,
            measured_at=datetime.now(UTC),
        )
        try:
            run.store.with_patience(0).models.set_pace(run.context.model_id, found)
        except StoreError as error:
            logger.warning("the model's pace is not stored: %s", error)

    def process(self, items: Sequence[PendingItem]) -> Batch:
        """Run detection on `items`; return when all have a record, or when the run ends.

        Raises any error that is not the fault of an image, the host or the store.
        """
        batch = Batch(len(items))
        with self._changed:
            self._batches.append(batch)
        self._queue.add(items, batch)
        self._threads.grow(min(len(items), self._limit.limit + 1))
        with self._changed:
            while batch.left and not (self._control.stop.is_set() and not batch.active):
                self._changed.wait()
            self._batches.remove(batch)
        if self._error is not None:
            raise self._error
        return batch

    def _end(self) -> None:
        """Make the threads finish their current image and take no other."""
        self._queue.end()
        self._limit.wake()
        self._unsettled.release(self._ceiling)
        with self._changed:
            self._changed.notify_all()

    # -- threads --

    def _most_threads(self) -> int:
        """Return twice the ceiling, or little more than the permits if threads wait for the GIL."""
        limit = self._limit.limit
        return limit + limit // 8 + 1 if self._limit.is_crowded else 2 * self._ceiling

    def _process_next(self) -> bool:
        """Process the next image of the queue; return False if the stream has ended."""
        image = self._queue.take()
        if image is None:
            return False
        batch = image.owner
        with self._changed:
            batch.active += 1
        try:
            self._inspect(image)
        except BaseException as error:  # noqa: BLE001 - `process` raises it
            self._break_off(error)
        finally:
            self._deactivate(batch)
        return True

    def _deactivate(self, batch: Batch) -> None:
        """Count an image as no longer active; judge failures if its batch has only those left."""
        with self._changed:
            batch.active -= 1
            if not batch.left or self._control.stop.is_set():
                self._changed.notify_all()
            last = batch.failures and not batch.active and batch.left == len(batch.failures)
        if last:
            try:
                self._judge_failures(batch)
            except BaseException as error:  # noqa: BLE001 - the calling thread has others to serve
                self._break_off(error)

    def _break_off(self, error: BaseException) -> None:
        """End the run for an error that `process` raises."""
        self._error = error
        self._control.end(Ending.INTERRUPTED, f"detection failed: {error}")

    def _submit(self, inspection: NewInspection, batch: Batch, *, unsettled: bool) -> None:
        """Queue a record for its commit; `unsettled` if it still counts as such."""
        with self._changed:
            batch.active += 1
        if not self._commits.submit(_Record(inspection, batch, unsettled)):
            self._deactivate(
                batch
            )  # the run has ended without this answer: the image stays pending

    # -- one image --

    def _inspect(self, image: QueuedImage[Batch]) -> None:
        body = self._read(image)
        if body is None:
            return
        self._unsettled.acquire()
        if not self._limit.acquire(self._control.stop.is_set):
            self._unsettled.release()  # lets the next waiting thread end too
            return
        if self._limit.is_starved and self._queue.has_ready:
            self._threads.grow(len(self._threads) + 1)
        try:
            detection = self._detect(image, body)
        except HostThrottled as error:
            self._unsettled.release()
            self._requeue(image, error)
        except (HostConflict, ModelNotFound) as error:
            # The API does not document the error of a model that is not hosted.
            self._control.end(Ending.MODEL_LOST, str(error))
        except HostAccessDenied as error:
            self._control.end(Ending.OUT_OF_REACH, str(error))
        except (HostError, ResponseInvalid) as error:
            if error.retryable:
                self._unsettled.release()
            if not self._control.stop.is_set():
                self._fail(image, error, deferred=error.retryable, unsettled=not error.retryable)
        else:
            self._answer(image, detection)

    def _read(self, image: QueuedImage[Batch]) -> bytes | None:
        """Return the checked bytes; None if that failed and the failure has been handled."""
        try:
            return self._run.read_checked(image.item)
        except CredentialsRefused as error:
            self._control.end(Ending.OUT_OF_REACH, str(error))
        except SourceError as error:
            self._fail(image, error, deferred=error.retryable)
        return None

    def _detect(self, image: QueuedImage[Batch], body: bytes) -> Detection:
        """Call the model while holding a permit, then return the permit."""
        try:
            content_type = CONTENT_TYPES[image.item.image.format]
            detection = self._run.host.detect(body, content_type, stop_event=self._control.stop)
        except HostThrottled as error:
            self._limit.record_throttling(error.retry_after)
            raise
        except BaseException:
            self._limit.record_failure()
            raise
        self._limit.record_answer(detection.latency_ms / 1000.0)
        return detection

    def _requeue(self, image: QueuedImage[Batch], error: HostThrottled) -> None:
        """Queue a throttled image again; end the run if nothing was answered for too long."""
        image.attempts += error.attempts
        image.throttled += 1
        limit = self._run.settings.throttled_deadline_seconds
        if time.monotonic() - self._last_answer > limit:
            self._control.end(
                Ending.OUT_OF_REACH,
                f"the model has throttled every request for {limit:g} seconds: {error}",
            )
        wait = THROTTLED_BACKOFF.seconds(image.throttled)
        requested = min(error.retry_after or 0.0, LONGEST_RETRY_AFTER_SECONDS)
        self._queue.put_back(image, max(wait, requested))

    def _answer(self, image: QueuedImage[Batch], detection: Detection) -> None:
        self._control.count_answer()
        self._last_answer = time.monotonic()
        item = image.item
        new = NewDetection(
            model_id=self._run.context.model_id,
            image_sha256=item.image.sha256,
            response=detection.result.to_response(),
            detected_at=datetime.now(UTC),
            mask_png=detection.result.anomaly_mask,
            request_id=detection.request_id,
            latency_ms=detection.latency_ms,
        )
        attempts = image.attempts + detection.attempts
        inspection = inspection_records.record_answer(
            item, new, self._policy, attempts, result=detection.result
        )
        self._submit(inspection, image.owner, unsettled=True)
        if any(batch.failures for batch in self._batches):
            self._record_own_failures()

    # -- failures --

    def _fail(
        self,
        image: QueuedImage[Batch],
        error: LfvError,
        *,
        deferred: bool = False,
        unsettled: bool = False,
    ) -> None:
        attempts = image.attempts + getattr(error, "attempts", 1)
        inspection = inspection_records.record_failure(image.item, error, attempts)
        if not deferred:
            self._submit(inspection, image.owner, unsettled=unsettled)
            return
        with self._changed:
            image.owner.failures.append(_Failure(inspection, error, self._control.answers))
        if self._control.count_failure() >= GIVE_UP_AFTER:
            self._control.end(Ending.OUT_OF_REACH, str(error))

    def _record_own_failures(self) -> None:
        """Record the failures after which the model answered for another image."""
        with self._changed:
            for batch in self._batches:
                self._record(batch, [one for one in batch.failures if self._is_own(one)])

    def _is_own(self, failure: _Failure) -> bool:
        return self._control.answers > failure.answers_before

    def _record(self, batch: Batch, failures: Sequence[_Failure]) -> None:
        """Record failures as their images' own. The caller holds the lock."""
        for failure in failures:
            batch.failures.remove(failure)
            self._submit(failure.inspection, batch, unsettled=False)

    def _judge_failures(self, batch: Batch) -> None:
        """Record the failures when nothing else is left of a batch, or end the run."""
        self._record_own_failures()
        with self._changed:
            others = list(batch.failures)
        if not others or self._control.stop.is_set():
            return
        if self._is_reachable():
            with self._changed:
                self._record(batch, [one for one in others if one in batch.failures])
        else:
            self._control.end(Ending.OUT_OF_REACH, str(others[-1].error))

    def _is_reachable(self) -> bool:
        """Whether failures without a later answer may be the images' own."""
        if self._answered == 0 or self._control.failures_since_answer >= GIVE_UP_AFTER:
            return False
        try:
            return self._run.host.describe().status is ModelStatus.HOSTED
        except HostError:
            return False

    # -- commits, in the thread that commits --

    def _are_urgent(self, records: int) -> bool:
        """Whether to commit now: the records would delay requests, or no request is in flight."""
        spare = (self._ceiling - self._limit.limit) // 2
        return records >= max(1, spare) or not self._limit.in_flight

    def _store(self, records: Sequence[_Record]) -> None:
        inspections = [record.inspection for record in records]
        self._run.store.inspections.record(self._run.run_id, inspections)

    def _settle_records(self, records: Sequence[_Record], error: BaseException | None) -> None:
        """Count committed records, or end the run if the commit failed."""
        if isinstance(error, StoreError):
            self._control.end(Ending.STORE, f"results cannot be stored: {error}")
        elif error is not None:
            self._break_off(error)
        unsettled = sum(record.unsettled for record in records)
        if unsettled:
            self._unsettled.release(unsettled)
        if error is None:
            with self._changed:
                for record in records:
                    if record.inspection.error_code is None:
                        record.batch.answered += 1
                        self._answered += 1
                    else:
                        record.batch.errors += 1
            self._control.advance(len(records))
        for record in records:
            self._deactivate(record.batch)
