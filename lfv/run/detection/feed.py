"""How fast a run's pending images are fed to detection, in this process or in Dask workers."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from lfv.run.active import ActiveRun

#: Batches that a worker gets during a run, and how many it has at a time.
_BATCHES_PER_WORKER = 10
_BATCHES_AT_A_TIME = 3
_SMALLEST_BATCH = 20


@dataclass(frozen=True)
class Feed:
    """How detection is fed.

    `batch_size` is in images. `batches` returns the most batches in progress, `images_ahead` the
    most submitted images without a record; beyond them, submission waits.
    """

    batch_size: int
    batches: Callable[[], int]
    images_ahead: Callable[[], int]


def feed_of(run: ActiveRun, live_workers: Callable[[], int]) -> Feed:
    """Return how to feed the pending images to detection.

    A worker reports its images batch by batch. It gets several batches during a run, and always has
    some in its queue, so that all workers are busy to the end.
    """
    settings, workers = run.settings, run.context.workers
    if not workers:
        size = settings.batch_size
        return Feed(size, lambda: settings.batches_in_flight, lambda: size + run.limit.limit)
    pending = run.store.inspections.counts(run.run_id).pending
    size = math.ceil(pending / (workers * _BATCHES_PER_WORKER))
    size = min(settings.batch_size, max(_SMALLEST_BATCH, size))

    def batches() -> int:
        return live_workers() * _BATCHES_AT_A_TIME

    return Feed(size, batches, lambda: batches() * size)
