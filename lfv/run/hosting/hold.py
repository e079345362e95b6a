"""Keep the model up while a run needs it, and no longer.

The order matters:

1. start a guard process, which outlives the run;
2. commit the lease, and with it the intent to start, to SQL;
3. send the lease to the guard;
4. only then call StartModel.

Whenever the run dies, it therefore leaves no unrecorded model up.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from lfv.client.errors import (
    HostError,
    HostingError,
    HostingFailed,
    HostingInterrupted,
    HostingTimedOut,
)
from lfv.client.hosting import ensure_hosted, ensure_stopped
from lfv.client.hosts import HostSpec, ModelHost
from lfv.formats.status import ModelStatus
from lfv.run.active import ActiveRun
from lfv.run.budget import Budget, steady_seconds
from lfv.run.control import Ending
from lfv.run.detection.threads import join_if_started
from lfv.run.embedded_service import ServicePlaces
from lfv.run.errors import EndedByOperator, ModelLost
from lfv.run.hosting.guard import GuardConfig
from lfv.run.hosting.guard_client import Guard
from lfv.run.hosting.release import (
    HeldLease,
    is_recorded_stopped,
    release_and_stop,
    stop_hosting,
)
from lfv_store import HostingStopping, Lease, StoreUnavailable

logger = logging.getLogger(__name__)

#: How often a run restarts a model that was stopped while in use.
MOST_RESTARTS = 3
_WATCH_SECONDS = 0.5
_WATCHER_SECONDS = 1.0
_OTHER_POLL_SECONDS = 0.5

_OUTCOMES = {
    (True, True): "the model is stopped, or still used by another run",
    (True, False): "the model is NOT SEEN STOPPED; its guard and the sweeper keep trying",
    (False, True): "the model is left as it was found",
    (False, False): "the model is left as it was found",
}


def _start_token(lease: Lease) -> str:
    """Return the ClientToken of StartModel, one for each hosting, so that a retry has no effect.

    A model that was stopped while in use needs another token, because a service that remembers the
    first one would repeat its first answer and start nothing.
    """
    if lease.hosting_status == "hosted":
        return f"{lease.client_token}-{lease.lease_id}"
    return lease.client_token


@dataclass(frozen=True)
class HoldTarget:
    """What a run holds: its model, or a batch job, which is recorded like a model."""

    model_id: int
    host: ModelHost
    host_spec: HostSpec


class ModelHold:
    """A run's hold on its model, or on `held`; a context manager whose exit releases it."""

    def __init__(self, run: ActiveRun, held: HoldTarget | None = None) -> None:
        held = held or HoldTarget(run.context.model_id, run.host, run.context.host_spec)
        self._run = run.context
        self._store = run.store
        self._model_id = held.model_id
        self._host = held.host
        self._host_spec = held.host_spec.to_dict()
        self._control = run.control
        self._budget = Budget.of(run.context)
        self._guard: Guard | None = None
        self._lease: Lease | None = None
        self._leaving = threading.Event()
        self._watcher: threading.Thread | None = None
        self._restarts = 0
        self._may_start_late = False
        #: What happened to the model on release, as text for people.
        self.outcome = ""
        #: Whether the release stopped the model; None if this run did not have to stop it.
        self.stopped: bool | None = None

    def __enter__(self) -> Self:
        self._guard = Guard(self._guard_config(), self._run.settings)
        return self

    def __exit__(self, *_: object) -> None:
        with ignore_signals():
            self._close()

    @property
    def adopted(self) -> bool:
        """Whether the model was started outside lfv, and will be left running."""
        return self._lease is not None and not self._lease.owned

    def acquire(self) -> None:
        """Acquire a lease, and return once the model is hosted.

        Raises `lfv.client.errors.HostingError` and `HostError` if it cannot be hosted.
        """
        deadline = time.monotonic() + self._run.settings.hosting_deadline_seconds
        while True:
            lease = self._commit_lease(deadline)
            hosted_at = self._host_model(lease, deadline)
            if hosted_at is not None:
                break
            self._release()
        self._leaving = threading.Event()
        self._watcher = threading.Thread(
            target=self._watch, args=(lease, hosted_at, self._leaving), name="lease", daemon=True
        )
        self._watcher.start()

    def restart(self) -> None:
        """Start the model again after it was stopped while the run used it.

        Raises `ModelLost` if that happened too often, and `EndedByOperator` if it was by force.
        """
        if self._lease is not None:
            self._end_if_stopped_by_force(self._lease)
        self._restarts += 1
        if self._restarts > MOST_RESTARTS:
            raise ModelLost(
                f"the model was stopped {self._restarts} times while it was in use "
                f"({self._control.message}); find out who stops it, then resume the run"
            )
        self._release()
        self._control.resume()
        self.acquire()

    def _host_model(self, lease: Lease, deadline: float) -> datetime | None:
        """Return when the model was seen hosted; None if the lease's hosting has ended.

        A lease that is not owned must not be used to start a model that has gone down, because
        nobody would stop it.
        """
        if not lease.must_start and self._started_by_other(lease, deadline):
            hosted_at = datetime.now(UTC)
        elif lease.owned:
            hosted_at = self._start(lease, deadline)
        else:
            return None
        self._store.hostings.mark_hosted(lease.hosting_id, hosted_at)
        try:
            self._end_if_stopped_by_force(lease)
        except EndedByOperator:  # the stop came before our start
            timeout = self._run.settings.stopping_deadline_seconds
            ensure_stopped(self._host, _start_token(lease), timeout=timeout)
            raise
        return hosted_at

    def _end_if_stopped_by_force(self, lease: Lease) -> None:
        """Raise `EndedByOperator` if the hosting ended although this run holds a lease.

        Only a forced stop ends a hosting before its leases.
        """
        ending = self._store.hostings.get(lease.hosting_id).is_ending
        if ending and self._store.leases.heartbeat(lease.lease_id):
            raise EndedByOperator(
                "somebody stopped the model by force (the audit log says who); "
                f"to inspect the rest, resume with `lfv inspect --resume {self._run.run_id}`"
            )

    def _start(self, lease: Lease, deadline: float) -> datetime:
        try:
            outcome = ensure_hosted(
                self._host,
                self._run.units,
                _start_token(lease),
                timeout=max(1.0, deadline - time.monotonic()),
                stop_event=self._control.stop,
                progress=self._notify,
                sending=self._sending,
            )
        except (HostError, HostingFailed):
            self._may_start_late = False  # refused, or failed while starting
            raise
        self._may_start_late = False
        if outcome.adopted and lease.must_start:
            # The model was started outside lfv between DescribeModel and StartModel.
            self._store.hostings.mark_foreign(lease.hosting_id)
        return outcome.hosted_at

    def _sending(self, unanswered: bool) -> None:
        """Note whether a StartModel was sent without an answer, and may still take effect."""
        self._may_start_late = unanswered

    def _must_start(self, lease: Lease) -> bool:
        """Whether this run must start a model that is down.

        This is so if the lease is not owned (a new lease then starts it), if the model was stopped
        while runs used it, or if the run that was to start it has ended.
        """
        return (
            not lease.owned
            or lease.hosting_status == "hosted"
            or self._store.leases.should_start(lease.lease_id)
        )

    def _started_by_other(self, lease: Lease, deadline: float) -> bool:
        """Wait while another run or a person starts the model; return False if none does."""
        while (status := self._host.describe().status) is not ModelStatus.HOSTED:
            if (
                not status.is_coming_up
                and status is not ModelStatus.STOPPING_HOSTING
                and self._must_start(lease)
            ):
                return False
            self._end_if_stopped_by_force(lease)
            self._notify("waiting for the model, which somebody else started")
            if time.monotonic() > deadline:
                raise HostingTimedOut("The model that somebody else started did not become HOSTED.")
            if self._control.stop.wait(_OTHER_POLL_SECONDS):
                raise HostingInterrupted("Waiting for the model was interrupted.")
        return True

    def _commit_lease(self, deadline: float) -> Lease:
        """Commit the lease and the intent to start, then send the lease to the guard."""
        run, settings = self._run, self._run.settings
        while True:
            already_hosted = self._host.describe().status.is_up
            try:
                lease = self._store.leases.acquire(
                    self._model_id,
                    run.run_id,
                    host_spec=self._host_spec,
                    units=(run.units.minimum, run.units.maximum),
                    price_per_unit_hour=run.unit_hour_price,
                    ttl=timedelta(seconds=settings.lease_ttl_seconds),
                    already_hosted=already_hosted,
                )
            except HostingStopping as stopping:
                self._await_stopped(stopping.hosting_id, deadline)
                continue
            self._lease = lease
            self._live_guard.hold(self._held(lease))
            return lease

    def _held(self, lease: Lease) -> HeldLease:
        return HeldLease(lease.lease_id, lease.hosting_id, lease.owned, self._host_spec)

    def _await_stopped(self, hosting_id: int, deadline: float) -> None:
        """Wait until a model that another run is stopping is down, and help to stop it."""
        hosting = self._store.hostings.get(hosting_id)
        self._notify("waiting until the previous run has stopped the model")
        stop_hosting(
            self._store,
            hosting,
            deadline_seconds=max(1.0, deadline - time.monotonic()),
            may_start_late=False,  # a late start does no harm, because this run needs the model
        )

    def _watch(self, lease: Lease, hosted_at: datetime, leaving: threading.Event) -> None:
        """Renew the lease, replace a dead guard and check limits, until the model is released."""
        settings = self._run.settings
        # One attempt each, because waiting for the database would suspend the checks of limits.
        heartbeats = self._store.with_patience(0).leases
        due = time.monotonic() + settings.lease_heartbeat_seconds
        since = steady_seconds() - (datetime.now(UTC) - hosted_at).total_seconds()
        while not leaving.wait(_WATCH_SECONDS):
            if (reached := self._budget.reached_limit(steady_seconds() - since)) is not None:
                self._control.end(Ending.LIMIT, reached)
            if time.monotonic() < due:
                continue
            due = time.monotonic() + settings.lease_heartbeat_seconds
            self._live_guard.replace_if_dead()
            try:
                if not heartbeats.heartbeat(lease.lease_id) and not leaving.is_set():
                    self._control.end(Ending.MODEL_LOST, "the run's lease on the model expired")
            except StoreUnavailable as error:
                logger.warning("the lease could not be renewed: %s", error)

    def _close(self) -> None:
        self._release()
        if self._guard is not None:
            self._guard.close()

    def _release(self) -> None:
        """Release the lease; the last release stops the model and waits for that."""
        self._leaving.set()
        if self._watcher is not None:
            join_if_started(self._watcher, _WATCHER_SECONDS)  # it may be waiting for the database
            self._watcher = None
        lease, self._lease = self._lease, None
        if lease is None:
            return
        self._notify("releasing the model")
        done = release_and_stop(
            self._store,
            self._held(lease),
            deadline_seconds=self._run.settings.stopping_deadline_seconds,
            may_start_late=self._may_start_late,
            on_status=self._notify,
        )
        self.outcome = _OUTCOMES[lease.owned, done]
        if lease.owned:
            # None if another run uses the model, or that cannot be determined.
            self.stopped = done and (is_recorded_stopped(self._store, lease.hosting_id) or None)
        if done:
            self._live_guard.report_release(lease.lease_id)
        else:
            logger.error("the model is not seen stopped; its guard and the sweeper keep trying")

    @property
    def _live_guard(self) -> Guard:
        if self._guard is None:
            raise HostingError("A model is held only inside its with block.")
        return self._guard

    def _guard_config(self) -> GuardConfig:
        settings = self._run.settings
        places = ServicePlaces(settings.service_home)
        settings.home.mkdir(parents=True, exist_ok=True)
        return GuardConfig(
            database_url=settings.store_url,
            run_id=self._run.run_id,
            stopping_deadline_seconds=settings.stopping_deadline_seconds,
            log_file=str(settings.home / "guard.log"),
            users_lock=str(places.users_lock) if self._run.embedded else None,
        )

    def _notify(self, text: str) -> None:
        self._control.notify("model", text)


@contextmanager
def ignore_signals() -> Iterator[None]:
    """Ignore the signals that end a run while its model is released.

    A second Ctrl-C, or the SIGTERM that follows a cancellation, would cut the stop short. Has
    effect in the main thread only, the only one that signals can interrupt.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before: dict[int, Any] = {
        number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
