"""Keep what a worker process opens for a run open between its batches.

A worker is a process that inspects batches of a run which another process drives. An attachment is
what the worker opens for the run: connections, a reader, the model's host and one stream for all
batches. A thread reads the run's lease from SQL once a second. It ends the work when the run ends
early, even if the process that holds the model has died, and closes the attachment when the run is
over or no batch has come for some seconds.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from lfv.run.active import ActiveRun, open_run
from lfv.run.context import RunContext
from lfv.run.control import Ending
from lfv.run.detection.dask_workers import stop_profiler
from lfv.run.detection.stream import DetectionStream
from lfv_store import StoreError, open_store

logger = logging.getLogger(__name__)

#: Interval at which a worker reads the run's lease.
_LOOK_SECONDS = 1.0
#: How long an attachment stays open without a batch.
IDLE_SECONDS = 10.0
_CANCELLED = "this worker ends"


class _Attachment:
    """What is open for a run in this process. `_lock` guards all attributes but the context.

    A retired attachment gets no other batch, and closes after its last one.
    """

    def __init__(self, context: RunContext) -> None:
        self.context = context
        self.batches = 0
        self.taken_at = time.monotonic()
        self.idle_since = self.taken_at
        self.retired = False
        self.cancelled = False
        self._opening = threading.Lock()
        self._opened = ExitStack()
        self._run: ActiveRun | None = None

    def open(self) -> ActiveRun:
        """Return the run; open it for the first batch."""
        with self._opening:
            if self._run is None:
                stop_profiler()
                settings = self.context.settings
                patience = settings.store_patience_seconds
                with ExitStack() as stack:
                    store = stack.enter_context(
                        open_store(settings.store_url, migrate=False, patience_seconds=patience)
                    )
                    run = stack.enter_context(open_run(self.context, store))
                    run.limit.lower_ceiling(self.context.ceiling)
                    run.limit.share(self.context.sharing)
                    stack.enter_context(DetectionStream(run))
                    self._opened = stack.pop_all()
                self._run = run
                name = f"follow-{run.run_id[:8]}"
                threading.Thread(target=_follow, args=(self, run), name=name, daemon=True).start()
            return self._run

    @property
    def run(self) -> ActiveRun | None:
        """The run; None unless it was opened."""
        return self._run

    @property
    def has_ended(self) -> bool:
        """Whether the run's work has ended here."""
        return self._run is not None and self._run.control.stop.is_set()

    def close(self) -> None:
        """Close what was opened."""
        with self._opening:
            self._opened.close()


_lock = threading.Lock()
#: The attachments that have batches or may get one; of each run, at most the last is not retired.
_attachments: list[_Attachment] = []


@contextmanager
def attach(context: RunContext) -> Iterator[ActiveRun]:
    """Attach this process to a run for one batch; the next batch finds the run open.

    A different context, such as another number of workers, gets its own attachment. The
    earlier one closes after its last batch.
    """
    attachment = _take(context)
    try:
        run = attachment.open()
        if attachment.cancelled:
            run.control.end(Ending.INTERRUPTED, _CANCELLED)
        yield run
    finally:
        _give_back(attachment)


def end_attachments(run_id: str) -> None:
    """End this process's work for a run: batches return after the answers in flight are stored."""
    with _lock:
        ended = _of(run_id)
        for one in ended:
            one.cancelled = one.retired = True
    for one in ended:
        if one.run is not None:
            one.run.control.end(Ending.INTERRUPTED, _CANCELLED)


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


def requests_in_flight(run_id: str) -> int:
    """Return how many requests of a run this process may have in flight; 0 before its first."""
    run = _current_run(run_id)
    return run.limit.limit if run is not None else 0


def share_requests(run_id: str, processes: int) -> None:
    """Share a run's requests in flight with other processes from now on, not from the next batch.

    Args:
        run_id: Id of the run.
        processes: How many processes there are, this one included.
    """
    run = _current_run(run_id)
    if run is not None:
        run.limit.share(processes)


def _current_run(run_id: str) -> ActiveRun | None:
    with _lock:
        return next((one.run for one in _of(run_id) if not one.retired), None)


def _of(run_id: str) -> list[_Attachment]:
    """Return a run's attachments. The caller holds the lock."""
    return [one for one in _attachments if one.context.run_id == run_id]


def _take(context: RunContext) -> _Attachment:
    with _lock:
        for one in _of(context.run_id):
            if one.context != context or one.has_ended:
                one.retired = True
        found = next((one for one in _of(context.run_id) if not one.retired), None)
        if found is None:
            _attachments.append(found := _Attachment(context))
        found.batches += 1
        found.taken_at = time.monotonic()
        return found


def _give_back(attachment: _Attachment) -> None:
    with _lock:
        attachment.batches -= 1
        attachment.idle_since = time.monotonic()
        if attachment.has_ended or attachment.run is None:
            attachment.retired = True
        _drop_if_done(attachment)


def _follow(attachment: _Attachment, run: ActiveRun) -> None:
    """End the run's work here when the run ends elsewhere; close the attachment after its use."""
    store = run.store.with_patience(0)
    seen = time.monotonic()
    while not _is_done(attachment):
        time.sleep(_LOOK_SECONDS)
        if run.control.stop.is_set():
            continue
        looked_at = time.monotonic()
        try:
            if store.leases.is_wanted(run.run_id):
                seen = looked_at
            elif _retire(attachment, looked_at):
                run.control.end(Ending.INTERRUPTED, "the run ended elsewhere")
        except StoreError as error:
            if time.monotonic() - seen > run.settings.lease_ttl_seconds:
                _retire(attachment)
                run.control.end(Ending.STORE, f"the run's lease cannot be read: {error}")
    attachment.close()


def _retire(attachment: _Attachment, looked_at: float | None = None) -> bool:
    """Stop giving the attachment batches, unless it got one after the lease was read.

    That batch may belong to the run's next lease, as after a lost model.
    """
    with _lock:
        if looked_at is None or attachment.taken_at < looked_at:
            attachment.retired = True
        return attachment.retired


def _is_done(attachment: _Attachment) -> bool:
    """Whether to close the attachment: no batch uses it, and none will."""
    with _lock:
        if not attachment.batches and time.monotonic() - attachment.idle_since > IDLE_SECONDS:
            attachment.retired = True
        return _drop_if_done(attachment)


def _drop_if_done(attachment: _Attachment) -> bool:
    """Drop an attachment that is retired and has no batch. The caller holds the lock."""
    done = attachment.retired and not attachment.batches
    if done and attachment in _attachments:
        _attachments.remove(attachment)
    return done
