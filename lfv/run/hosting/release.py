"""Releases a lease and stops the model, for the run itself, its guard and the sweeper.

All steps are idempotent: releasing a lease twice and stopping a stopped model have no effect.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from lfv.client.hosting import ensure_stopped
from lfv.client.hosts import HostSpec, ModelHost, open_host
from lfv.formats.errors import LfvError
from lfv.run.embedded_service import embedded_service
from lfv_store import Hosting, Store, StoreError, StoreUnavailable

T = TypeVar("T")
logger = logging.getLogger(__name__)

#: How long a StartModel without an answer may still take effect. A model that was requested and
#: never seen hosted counts as stopped only after this time.
START_GRACE = timedelta(seconds=60)
_DATABASE_PATIENCE_SECONDS = 10.0
_WATCH_SECONDS = 0.5


@dataclass(frozen=True)
class HeldLease:
    """What any process needs to release a lease and stop its model."""

    lease_id: int
    hosting_id: int
    owned: bool
    host_spec: Mapping[str, Any]

    def to_line(self) -> bytes:
        return json.dumps(asdict(self)).encode() + b"\n"


@contextmanager
def reopen_host(host_spec: Mapping[str, Any]) -> Iterator[ModelHost]:
    """Open the host of a stored specification, starting an embedded service if needed."""
    spec = HostSpec.from_dict(host_spec)
    with ExitStack() as stack:
        if spec.embedded_home is not None:
            from lfv.settings import get_settings  # a guard starts faster without pydantic

            service = embedded_service(get_settings(home=Path(spec.embedded_home)))
            spec = replace(spec, endpoint_url=stack.enter_context(service))
        yield stack.enter_context(closing(open_host(spec)))


def release_and_stop(
    store: Store,
    held: HeldLease,
    *,
    deadline_seconds: float,
    may_start_late: bool | None = None,
    on_status: Callable[[str], None] = logger.info,
) -> bool:
    """Release a lease, and stop the model if it was the last lease and lfv started the model.

    Returns whether nothing is left to stop. If the database is unavailable, other runs may be using
    the model. A model started by lfv is then stopped anyway: a run that needs it starts it again,
    whereas a forgotten model costs money without end.
    """
    try:
        must_stop = _call_within(
            lambda: store.with_patience(_DATABASE_PATIENCE_SECONDS).leases.release(held.lease_id),
            seconds=_DATABASE_PATIENCE_SECONDS,
        )
    except StoreError as error:
        logger.error("the lease could not be released (%s)", error)
        must_stop = held.owned
    if not must_stop:
        return True
    return stop_hosting(
        store,
        held,
        deadline_seconds=deadline_seconds,
        may_start_late=may_start_late,
        on_status=on_status,
    )


def _call_within(call: Callable[[], T], *, seconds: float) -> T:
    """Return the result of `call` if it returns in time; otherwise leave it running in its thread.

    A database may neither answer nor fail while a model is being billed: SQLite alone waits half a
    minute for a lock. Raises StoreUnavailable after `seconds`.
    """
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(call())
        except BaseException as error:  # noqa: BLE001 - raised where it is waited for
            errors.append(error)

    thread = threading.Thread(target=run, name="release", daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not results:
        raise StoreUnavailable(f"the database did not answer within {seconds:g} s")
    return results[0]


def stop_hosting(
    store: Store,
    hosting: Hosting | HeldLease,
    *,
    deadline_seconds: float,
    may_start_late: bool | None = None,
    on_status: Callable[[str], None] = logger.info,
) -> bool:
    """Stop the model of a hosting without leases, and record the outcome.

    `may_start_late`: whether a StartModel may still take effect. With None, this is determined, and
    the model watched until it no longer can; with True, the guard watches.

    Returns whether the model is seen stopped for good. If not, the sweeper takes over.
    """
    store, hosting_id = store.with_patience(_DATABASE_PATIENCE_SECONDS), hosting.hosting_id
    try:
        with reopen_host(hosting.host_spec) as host:
            ensure_stopped(
                host,
                _token(hosting_id),
                timeout=deadline_seconds,
                is_settled=partial(is_recorded_stopped, store, hosting_id),
                progress=on_status,
            )
            if may_start_late is None:
                _watch_for_late_start(store, hosting_id, host, deadline_seconds)
    except LfvError as error:
        logger.error("the model of hosting %s is not seen stopped: %s", hosting_id, error)
        _record_attempt(store, hosting_id, str(error))
        return False
    if may_start_late:
        return False
    try:
        store.hostings.mark_stopped(hosting_id, datetime.now(UTC))
    except StoreError as error:
        logger.error("hosting %s is stopped, which could not be recorded: %s", hosting_id, error)
        return False
    return True


def end_earlier(
    store: Store,
    hosting: Hosting,
    *,
    deadline_seconds: float,
    stop_event: threading.Event,
) -> None:
    """Stop what an earlier attempt of a run left up, before the run continues without it.

    A start that was never answered may still take effect. The guard or the sweeper keeps watching
    for it, and the hosting stays open until then.

    Raises HostError and HostingError if it is not seen stopped.
    """
    with reopen_host(hosting.host_spec) as host:
        ensure_stopped(
            host,
            _token(hosting.hosting_id),
            timeout=deadline_seconds,
            stop_event=stop_event,
            is_settled=partial(is_recorded_stopped, store, hosting.hosting_id),
            progress=logger.info,
        )
    if hosting.hosted_at is not None:
        store.hostings.mark_stopped(hosting.hosting_id, datetime.now(UTC))


def _watch_for_late_start(
    store: Store, hosting_id: int, host: ModelHost, deadline_seconds: float
) -> None:
    """Stop the model again if a StartModel without an answer takes effect after all.

    Ends early if another run has taken over the model, which is then up for that run.
    """
    while (left := _late_start_seconds(store, hosting_id)) > 0:
        time.sleep(min(left, _WATCH_SECONDS))
        # In this order: the model is stopped only if the hosting is still open after the check.
        if host.describe().status.is_up and _late_start_seconds(store, hosting_id) > 0:
            ensure_stopped(
                host,
                _token(hosting_id),
                timeout=deadline_seconds,
                is_settled=partial(is_recorded_stopped, store, hosting_id),
            )


def is_recorded_stopped(store: Store, hosting_id: int) -> bool:
    """Whether the hosting is recorded as stopped, so that a model that is up belongs to another."""
    try:
        return store.with_patience(0).hostings.get(hosting_id).status == "stopped"
    except StoreError:
        return False


def _late_start_seconds(store: Store, hosting_id: int) -> float:
    """Return for how many seconds a StartModel of this hosting may still take effect."""
    try:
        hosting = store.hostings.get(hosting_id)
    except StoreError:
        return _WATCH_SECONDS
    if hosting.hosted_at is not None or hosting.status != "stop_requested":
        return 0.0
    return (hosting.requested_at + START_GRACE - datetime.now(UTC)).total_seconds()


def _token(hosting_id: int) -> str:
    """Return the ClientToken of StopModel, the same for everyone who stops this hosting."""
    return f"stop-hosting-{hosting_id}"


def _record_attempt(store: Store, hosting_id: int, error: str) -> None:
    try:
        store.hostings.mark_stop_attempt(hosting_id, error)
    except StoreError as problem:
        logger.warning(
            "the attempt to stop hosting %s could not be recorded: %s", hosting_id, problem
        )
