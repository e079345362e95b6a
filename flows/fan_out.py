"""Feeds a run's pending images to detection, one task run per batch."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from queue import Empty, SimpleQueue
from typing import Any

from prefect.futures import PrefectFuture

from flows.task_runners import LiveWorkers, result_of
from lfv.run.active import ActiveRun
from lfv.run.context import RunContext
from lfv.run.control import Ending, RunControl
from lfv.run.detection.attachments import call_off_workers_on_end, end_attachments
from lfv.run.detection.detect import DetectedBatch, PendingBatch
from lfv.run.detection.feed import feed_of
from lfv.run.detection.shards import CLAIM_AGAIN_SECONDS, CLAIMS_AT_A_TIME, Share
from lfv.run.detection.stream import DetectionStream
from lfv_store import Store
from tasks.detect_anomalies import detect_anomalies

#: Interval at which the flow checks whether the stream needs another batch.
FEED_SECONDS = 0.05
#: How long workers may take to store answers in flight when a run ends with an error.
OTHERS_SECONDS = 5.0


def fan_out(run: ActiveRun) -> Ending | None:
    """Feed all pending images to the stream, one task run per batch; return why it ended early.

    The next batch is submitted while less than a batch waits in the stream, so that the stream
    never runs dry. Workers of a cluster get several batches each.
    """
    control, workers = run.control, LiveWorkers(run.context.workers)
    feed = feed_of(run, workers.count)
    before, submitted, after_line = control.done, 0, 0
    here = not run.context.workers
    with (
        DetectionStream(run) if here else call_off_workers_on_end(run),
        open_batches(control, elsewhere=not here, check=workers.count) as batches,
    ):
        while not control.stop.is_set() and (
            items := run.store.inspections.pending(
                run.run_id, after_line=after_line, limit=feed.batch_size
            )
        ):
            first_line, after_line = items[0].line_number, items[-1].line_number
            batch = PendingBatch(items)
            shared = run if here else replace(run.context, workers=workers.count())
            batches.add(detect_anomalies.submit(shared, batch, first_line, after_line))
            submitted += len(items)
            while not control.stop.is_set() and (
                submitted - (control.done - before) > feed.images_ahead()
                or len(batches) >= feed.batches()
            ):
                batches.finish_some(FEED_SECONDS)
    return control.ending


class OpenBatches:
    """Batches that were submitted and have not finished.

    Args:
        control: Ends the run if a batch reports an ending; counts images of other processes.
        elsewhere: Whether other processes run the batches.
        on_end: Called with the first line of a batch, and the number of images with a record.
    """

    def __init__(
        self,
        control: RunControl,
        *,
        elsewhere: bool,
        on_end: Callable[[int, int], None],
    ) -> None:
        self._control = control
        self._elsewhere = elsewhere
        self._on_end = on_end
        self._open = 0
        self._finished: SimpleQueue[PrefectFuture[Any]] = SimpleQueue()

    def __len__(self) -> int:
        return self._open

    def add(self, future: PrefectFuture[Any]) -> None:
        """Watch a batch."""
        self._open += 1
        future.add_done_callback(self._finished.put)

    def await_others(self, timeout: float) -> None:
        """Wait up to `timeout` seconds for batches in other processes."""
        deadline = time.monotonic() + timeout
        while self._elsewhere and self._open and (left := deadline - time.monotonic()) > 0:
            try:
                self._finished.get(timeout=left)
            except Empty:
                return
            self._open -= 1

    def finish_some(self, timeout: float) -> None:
        """Wait up to `timeout` seconds for a batch, and end the run if the batch reports an ending.

        Raises what the batch raised.
        """
        try:
            future = self._finished.get(timeout=timeout)
        except Empty:
            return
        self._open -= 1
        batch: DetectedBatch = result_of(future)
        recorded = batch.answered + batch.errors
        if batch.ran_elsewhere:
            self._control.advance(recorded)
        self._on_end(batch.first_line, recorded)
        if batch.ending is not None:
            self._control.end(batch.ending, batch.message)


@contextmanager
def open_batches(
    control: RunControl,
    *,
    elsewhere: bool,
    on_end: Callable[[int, int], None] = lambda *_: None,
    check: Callable[[], object] = lambda: None,
) -> Iterator[OpenBatches]:
    """Yield an OpenBatches, and wait until all of its batches have finished.

    `check` is called meanwhile; it raises if they can never finish. After an error, answers in
    flight are stored before the model is stopped, because they are paid for.
    """
    batches = OpenBatches(control, elsewhere=elsewhere, on_end=on_end)
    try:
        yield batches
        while len(batches):
            batches.finish_some(1.0)
            check()
    except BaseException:
        control.end(Ending.INTERRUPTED)
        batches.await_others(OTHERS_SECONDS)
        raise


def detect_claims(store: Store, context: RunContext, control: RunControl, share: Share) -> None:
    """Inspect what this worker can claim until no line of the run is pending, or the run ends."""
    with (
        control.on_end(lambda: end_attachments(context.run_id)),
        open_batches(control, elsewhere=True, on_end=share.finish) as batches,
    ):
        while not control.stop.is_set():
            items = share.claim() if len(batches) < CLAIMS_AT_A_TIME else []
            if items:
                shared = replace(context, workers=share.workers)
                lines = items[0].line_number, items[-1].line_number
                batch = PendingBatch(items, control.stop)
                batches.add(detect_anomalies.submit(shared, batch, *lines))
            elif len(batches):
                batches.finish_some(FEED_SECONDS)
            elif store.inspections.pending(context.run_id, limit=1):
                control.stop.wait(CLAIM_AGAIN_SECONDS)
            else:
                break
