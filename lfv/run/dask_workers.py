"""Share a run's detection among Dask workers, which may be on other machines.

The process that holds the model submits batches and receives the result of each. Workers attach to
the run by `lfv.run.attachments`, so a worker only works for a run while its model is held.
"""

from __future__ import annotations

import logging
import math
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

from lfv.formats.loopback import is_local_name
from lfv.run.active import ActiveRun
from lfv.run.errors import NotSpreadable
from lfv.settings import Settings
from lfv_store import PendingItem, Store, StoreError

logger = logging.getLogger(__name__)

_CONNECT_SECONDS = 5.0
#: Batches that a worker gets during a run, and how many it has at a time.
_BATCHES_PER_WORKER = 10
_BATCHES_AT_A_TIME = 3
_SMALLEST_BATCH = 20


def check_spreadable(settings: Settings, *, embedded: bool) -> None:
    """Make sure that processes on other machines can share a run.

    Args:
        settings: Names the Dask scheduler.
        embedded: Whether the model is in the embedded service.

    Raises:
        NotSpreadable: Those processes cannot reach the database or the model.
    """
    if settings.store_file is not None:
        raise NotSpreadable(
            "Dask workers need a database that several machines can write to; set "
            "LFV_DATABASE_URL to a PostgreSQL database"
        )
    address = settings.dask_address or ""
    if embedded and not is_local_name(urlsplit(address).hostname or ""):
        raise NotSpreadable(
            f"the Dask workers of {address} may run on machines that cannot reach the embedded "
            "service; name one that all of them can reach with --endpoint-url"
        )


def check_scheduler(settings: Settings) -> None:
    """Make sure that the Dask scheduler of the settings answers.

    Raises:
        NotSpreadable: The scheduler does not answer.
    """
    address = urlsplit(settings.dask_address or "")
    try:
        socket.create_connection(
            (address.hostname or "", address.port or 8786), timeout=_CONNECT_SECONDS
        ).close()
    except (OSError, ValueError) as error:
        raise NotSpreadable(
            f"no Dask scheduler answers at {settings.dask_address} ({error}); start one with: "
            "dask scheduler"
        ) from None


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


@contextmanager
def call_off_workers_on_end(run: ActiveRun) -> Iterator[None]:
    """Inform the workers if the run ends early in this block."""

    def call_off() -> None:
        try:
            run.store.with_patience(0).leases.call_off(run.run_id)
        except StoreError as error:
            logger.warning("the workers are not informed yet that the run ends: %s", error)

    with run.control.on_end(call_off):
        yield


def filter_pending(
    store: Store, run_id: str, items: Sequence[PendingItem]
) -> Sequence[PendingItem]:
    """Return the items without a record. A worker that died may have recorded some of a batch."""
    left = store.inspections.pending(run_id, after_line=items[0].line_number - 1, limit=len(items))
    lines = {item.line_number for item in left}
    return [item for item in items if item.line_number in lines]
