"""Run detection on one batch of pending images; each answer is stored before the next call.

An image that was throttled goes back into the queue and is tried again until the run ends: it is
never recorded as an error.  Any other failed call is the image's fault or the host's.  The host
retries calls that can be retried.  When that does not help, the image's record waits for the end of
the batch: if the model answered for another image afterwards, the failure was the image's own and
is recorded.  If nothing was answered afterwards, the host is asked for the model's status: only
while the model is hosted is the failure recorded; otherwise the run ends and can be resumed later.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime

from lfv.client.clock import Backoff
from lfv.client.errors import (
    HostAccessDenied,
    HostConflict,
    HostError,
    HostThrottled,
    ModelNotFound,
)
from lfv.client.hosts import Detection
from lfv.formats.errors import ImageError, LfvError, ResponseInvalid, SourceChanged, SourceError
from lfv.formats.images import CONTENT_TYPES
from lfv.formats.status import ModelStatus
from lfv.run import outcomes
from lfv.run.active import ActiveRun
from lfv.run.control import Ending
from lfv.run.group_commit import GroupCommit
from lfv.run.image_queue import ImageQueue, QueuedImage
from lfv_store import NewDetection, NewInspection, PendingItem, StoreError

#: Images in a row, over all batches, that fail before the run gives up.
GIVE_UP_AFTER = 10
#: How long a throttled image waits when the service does not say; and at most if it does.
THROTTLED_BACKOFF = Backoff(first=0.1, longest=5.0)
LONGEST_RETRY_AFTER_SECONDS = 60.0


@dataclass(frozen=True)
class DetectedBatch:
    """The outcome of a batch: images answered, recorded as errors, and left pending.

    `ending` is why the run ends early, as far as this batch knows; the process that drives the run
    learns it from here when the batch ran in another one.
    """

    first_line: int
    last_line: int
    answered: int
    errors: int
    left: int
    ending: Ending | None = None
    message: str = ""


def detect_batch(run: ActiveRun, items: Sequence[PendingItem], *, threads: int) -> DetectedBatch:
    """Run detection on `items` with `threads` requests in flight; return early if the run ends.

    Problems that are not an image's own end the run through its control and are not raised: every
    answer that is already paid for is stored first.
    """
    batch = _Batch(run)
    batch.queue.add(items)
    with (
        run.control.on_end(batch.queue.end),
        ThreadPoolExecutor(threads, thread_name_prefix="detect") as pool,
    ):
        for worker in [pool.submit(batch.work) for _ in range(threads)]:
            worker.result()
    batch.settle_deferred()
    return DetectedBatch(
        first_line=items[0].line_number,
        last_line=items[-1].line_number,
        answered=batch.answered,
        errors=batch.errors,
        left=len(items) - batch.answered - batch.errors,
        ending=run.control.ending,
        message=run.control.message,
    )


@dataclass(frozen=True)
class _Deferred:
    """A failure that may be the image's own or the host's."""

    inspection: NewInspection
    error: LfvError
    answers_before: int


class _Batch:
    def __init__(self, run: ActiveRun) -> None:
        self.run = run
        self.control = run.control
        self.policy = run.context.parsed_policy()
        self.answered = 0
        self.errors = 0
        self.deferred: list[_Deferred] = []
        self.queue = ImageQueue()
        self.last_answer = time.monotonic()
        self.counting = threading.Lock()
        self.commits: GroupCommit[NewInspection] = GroupCommit(self._store)

    def work(self) -> None:
        """Take images from the queue until all are settled or the run is ending."""
        while (image := self.queue.take()) is not None:
            try:
                self._inspect(image)
            except StoreError as error:
                self.control.end(Ending.STORE, f"results cannot be stored: {error}")
            except HostThrottled as error:
                self._put_back(image, error)
            else:
                self.queue.settle()

    def _put_back(self, image: QueuedImage, error: HostThrottled) -> None:
        """Queue a throttled image again; end the run if the model has refused all for too long."""
        image.attempts += error.attempts
        image.throttled += 1
        limit = self.run.settings.throttled_deadline_seconds
        if time.monotonic() - self.last_answer > limit:
            self.control.end(
                Ending.OUT_OF_REACH,
                f"the model has throttled every request for {limit:g} seconds: {error}",
            )
        wait = THROTTLED_BACKOFF.seconds(image.throttled)
        asked = min(error.retry_after or 0.0, LONGEST_RETRY_AFTER_SECONDS)
        self.queue.put_back(image, max(wait, asked))

    def settle_deferred(self) -> None:
        """Record the failures that were the images' own; end the run for the others."""
        own = [one for one in self.deferred if self.control.answers > one.answers_before]
        others = [one for one in self.deferred if self.control.answers == one.answers_before]
        if others and not self.control.stop.is_set():
            if self._in_reach():
                own += others
            else:
                self.control.end(Ending.OUT_OF_REACH, str(others[-1].error))
        for one in own:
            try:
                self._commit(one.inspection)
            except StoreError as error:
                self.control.end(Ending.STORE, f"results cannot be stored: {error}")
                return

    def _in_reach(self) -> bool:
        """Whether failures that no answer followed may be the images' own."""
        if self.answered == 0 or self.control.failures_since_answer >= GIVE_UP_AFTER:
            return False
        try:
            return self.run.host.describe().status is ModelStatus.HOSTED
        except HostError:
            return False

    def _inspect(self, image: QueuedImage) -> None:
        item = image.item
        try:
            body, _ = self.run.reader.read_image(item.source_ref)
        except ImageError as error:
            self._fail(image, SourceChanged(f"The image changed after it was checked: {error}"))
            return
        except SourceError as error:
            self._fail(image, error, deferred=error.retryable)
            return
        if hashlib.sha256(body).hexdigest() != item.image.sha256:
            self._fail(image, SourceChanged("The image changed after it was checked."))
            return
        try:
            detection = self.run.host.detect(
                body,
                CONTENT_TYPES[item.image.format],
                stop_event=self.control.stop,
                retry_throttled=False,
            )
        except HostThrottled:
            raise
        except (HostConflict, ModelNotFound) as error:
            # The API does not document the error of a model that is not hosted.
            self.control.end(Ending.MODEL_LOST, str(error))
        except HostAccessDenied as error:
            self.control.end(Ending.OUT_OF_REACH, str(error))
        except (HostError, ResponseInvalid) as error:
            if not self.control.stop.is_set():
                self._fail(image, error, deferred=error.retryable)
        else:
            self._answer(image, detection)

    def _answer(self, image: QueuedImage, detection: Detection) -> None:
        self.control.answered()
        self.last_answer = time.monotonic()
        item = image.item
        new = NewDetection(
            model_id=self.run.context.model_id,
            image_sha256=item.image.sha256,
            response=detection.result.to_response(),
            detected_at=datetime.now(UTC),
            mask_png=detection.result.anomaly_mask,
            request_id=detection.request_id,
            latency_ms=detection.latency_ms,
        )
        attempts = image.attempts + detection.attempts
        self._commit(outcomes.answered(item, new, self.policy, attempts))

    def _fail(self, image: QueuedImage, error: LfvError, *, deferred: bool = False) -> None:
        attempts = image.attempts + getattr(error, "attempts", 1)
        inspection = outcomes.failed(image.item, error, attempts)
        if not deferred:
            self._commit(inspection)
            return
        with self.counting:
            self.deferred.append(_Deferred(inspection, error, self.control.answers))
        if self.control.failed() >= GIVE_UP_AFTER:
            self.control.end(Ending.OUT_OF_REACH, str(error))

    def _commit(self, inspection: NewInspection) -> None:
        self.commits.submit(inspection)
        with self.counting:
            if inspection.error_code is None:
                self.answered += 1
            else:
                self.errors += 1
        self.control.advance()

    def _store(self, group: Sequence[NewInspection]) -> None:
        self.run.store.inspections.record(self.run.run_id, group)
