"""This process's part in a run that several processes share without a task runner between them.

One process leads: it plans, holds the model, evaluates and reports. It and the others, the shards,
claim pending lines in SQL and inspect them. A claim lasts as long as its worker's heartbeat, so the
lines of a process that is killed go to the others.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections import deque
from collections.abc import Sequence
from datetime import timedelta
from types import TracebackType
from typing import Self
from uuid import uuid4

from lfv.run.context import RunContext
from lfv.run.control import Ending, RunControl
from lfv.run.detection.attachments import requests_in_flight, share_requests
from lfv.run.detection.threads import join_if_started
from lfv.run.embedded_service import is_embedded
from lfv.run.errors import NotSpreadable
from lfv.run.start import describe_end
from lfv.settings import Settings, prefect_may_be_configured
from lfv_store import PendingItem, Store, StoreError
from lfv_store.run_workers import Holding

logger = logging.getLogger(__name__)

#: Claims that a worker holds at a time, so that its stream never runs dry.
CLAIMS_AT_A_TIME = 2
_BEAT_SECONDS = 1.0
#: How long a worker that joins waits: the others learn of it with their next heartbeat.
_JOIN_SECONDS = 1.2
#: How long a killed worker keeps its claims; at most the time to live of a lease.
_CLAIM_TTL_SECONDS = 15.0
#: How long the leader waits for the others when the model is lost: until no claim is live.
LOST_SECONDS = 20.0
#: How long a worker that found nothing to claim waits; lines of lost workers may come free.
CLAIM_AGAIN_SECONDS = 0.5
#: Work in a claim: this many seconds at the worker's pace, or rounds of its requests in flight.
#: With more, the others would wait for a slow worker at the end.
_CLAIM_SECONDS = 2.0
_CLAIM_ROUNDS = 2
_FIRST_CLAIM = 8
#: Larger, because the leader starts alone and no other worker waits for it.
_FIRST_CLAIM_OF_LEADER = 64
#: The last lines of a run are not divided into smaller claims, unless the worker is slow.
_SMALLEST_CLAIM = 20
#: Finished claims from which a worker's pace is taken.
_CLAIMS_OF_PACE = 4
_LEAVE_SECONDS = 2.0


def check_shareable(settings: Settings, *, embedded: bool) -> None:
    """Make sure that other flow runs can share a run.

    Args:
        settings: Names the database and the task runner.
        embedded: Whether the model is in the embedded service.

    Raises:
        NotSpreadable: They cannot reach the database or the model.
    """
    if settings.task_runner != "threads":
        raise NotSpreadable(
            "the workers of a Dask cluster already share this run; leave out the shards, or "
            "--task-runner and LFV_TASK_RUNNER"
        )
    if settings.store_file is not None:
        raise NotSpreadable(
            "shards need a database that several machines can write to; set LFV_DATABASE_URL to a "
            "PostgreSQL database"
        )
    if embedded:
        raise NotSpreadable(
            "shards may run on machines that cannot reach the embedded service; set "
            "LFV_ENDPOINT_URL to a service that all of them can reach"
        )


def check_before_start(settings: Settings, host: str | None = None) -> None:
    """Refuse shards for a run of this process that could not work, before anything is started.

    `host` is the model's kind of host, by default that of the settings. Raises NotSpreadable.
    """
    check_shareable(settings, embedded=is_embedded(settings, host))
    if not prefect_may_be_configured():
        raise NotSpreadable(
            "shards need a Prefect server, which assigns them to workers; set PREFECT_API_URL, "
            "and create their deployment with: lfv deploy"
        )


class Share:
    """A worker's claims and heartbeat. A context manager; its methods are thread-safe.

    The leader's share also counts what the others do, and learns from them that the model is lost.
    The share of another worker ends its work when the leader's run is over.
    """

    def __init__(
        self, store: Store, context: RunContext, control: RunControl, *, leads: bool
    ) -> None:
        self._store = store
        self._run_id = context.run_id
        self._settings = context.settings
        self._control = control
        self._leads = leads
        self._ttl = timedelta(seconds=min(_CLAIM_TTL_SECONDS, self._settings.lease_ttl_seconds))
        self._name = f"{socket.gethostname()}/{os.getpid()}/{uuid4().hex[:8]}"
        self._lock = threading.Lock()
        self._held: set[int] = set()
        self._images = 0
        self._of_others = 0
        self._ended: set[str] = set()
        self._claim_at = 0.0
        #: When the last claims were finished, and their images.
        self._finished: deque[tuple[float, int]] = deque(maxlen=_CLAIMS_OF_PACE + 1)
        self._leaving = threading.Event()
        self._beats = threading.Thread(target=self._keep_up, name="share", daemon=True)
        #: Live workers, this one included.
        self.workers = 1

    def __enter__(self) -> Self:
        self._beat(self._store)
        self._beats.start()
        if self.workers > 1:  # until the others leave it its share of the requests in flight
            self._control.stop.wait(_JOIN_SECONDS)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the run; a shard reports why it ends early."""
        self._leaving.set()
        join_if_started(self._beats, _LEAVE_SECONDS)  # it may be waiting for the database
        ending, message = self._control.ending, self._control.message
        if error is not None:
            ending, message = ending or Ending.INTERRUPTED, message or describe_end(error)
        try:
            self._store.with_patience(0).run_workers.leave(
                self._run_id, self._name, self._images, ending, message
            )
        except StoreError as failure:
            logger.warning("the end of this worker is not recorded: %s", failure)

    def claim(self) -> Sequence[PendingItem]:
        """Claim the next lines; [] if there are none now."""
        rounds = _CLAIM_ROUNDS * requests_in_flight(self._run_id)
        first = _FIRST_CLAIM_OF_LEADER if self._leads and not self._images else _FIRST_CLAIM
        most = max(first, rounds, round(_CLAIM_SECONDS * self._pace()))
        if time.monotonic() < self._claim_at:
            return []
        with self._lock:
            items = self._store.run_workers.claim(
                self._run_id,
                self._name,
                self._holding,
                most=min(most, self._settings.batch_size),
                fewest=_SMALLEST_CLAIM,
                ttl=self._ttl,
            )
            if items:
                if not self._finished:
                    self._finished.append((time.monotonic(), 0))
                self._held.add(items[0].line_number)
            else:
                self._claim_at = time.monotonic() + CLAIM_AGAIN_SECONDS
        return items

    def finish(self, first_line: int, images: int) -> None:
        """End the claim that begins with `first_line`; `images` of it have their record."""
        with self._lock:
            self._held.discard(first_line)
            self._images += images
            self._finished.append((time.monotonic(), images))

    def await_others(self, seconds: float) -> None:
        """Wait up to `seconds` until no other worker is live."""
        deadline = time.monotonic() + seconds
        store = self._store.with_patience(0)
        while time.monotonic() < deadline:
            try:
                workers = store.run_workers.list(self._run_id)
            except StoreError:
                return
            if not any(worker.is_live and worker.worker != self._name for worker in workers):
                return
            time.sleep(_BEAT_SECONDS / 4)

    def _pace(self) -> float:
        """Images per second in the last claims; 0 before the first is finished."""
        if len(self._finished) < 2:
            return 0.0
        (began, _), *finished = self._finished
        return sum(images for _, images in finished) / max(0.001, finished[-1][0] - began)

    @property
    def _holding(self) -> Holding:
        return Holding(frozenset(self._held), self._images)

    def _beat(self, store: Store) -> None:
        with self._lock:
            workers = store.run_workers.beat(self._run_id, self._name, self._holding, ttl=self._ttl)
        if workers != self.workers:
            self.workers = workers
            share_requests(self._run_id, workers)

    def _keep_up(self) -> None:
        store = self._store.with_patience(0)
        seen = time.monotonic()
        while not self._leaving.wait(_BEAT_SECONDS):
            try:
                self._beat(store)
                if self._leads:
                    self._look_at_others(store)
                elif not store.leases.is_wanted(self._run_id):
                    self._control.end(Ending.INTERRUPTED, "the run ended elsewhere")
                seen = time.monotonic()
            except StoreError as error:
                if time.monotonic() - seen > self._settings.lease_ttl_seconds:
                    self._control.end(Ending.STORE, f"this worker cannot report: {error}")

    def _look_at_others(self, store: Store) -> None:
        """Count the images of other workers, and learn from them that the model is lost.

        Any other error of a shard may be local to its machine, so others take over its lines.
        """
        others = [one for one in store.run_workers.list(self._run_id) if one.worker != self._name]
        images = sum(one.images for one in others)
        if images > self._of_others:
            self._control.advance(images - self._of_others)
            self._of_others = images
        for worker in others:
            if worker.ending == Ending.MODEL_LOST:
                self._control.end(Ending.MODEL_LOST, worker.message or "")
            elif worker.ending is not None and worker.worker not in self._ended:
                self._ended.add(worker.worker)
                logger.warning("shard %s ended early: %s", worker.worker, worker.message)
