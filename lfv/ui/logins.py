"""Failed logins: how many are let through, and which are recorded."""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict, deque

from lfv_store import Store, StoreError

logger = logging.getLogger(__name__)

#: Failed logins within the window, by one address for one name, before the next has to wait.
MOST_FAILURES = 5
#: The same for an address whatever the name, and for a name whatever the address.
MOST_BY_ADDRESS, MOST_BY_NAME = 20, 50
WINDOW_SECONDS = 15 * 60.0
#: Failed logins within the window that get an entry of their own in the audit log.
MOST_RECORDED = 50
_UNRECORDED = "unrecorded_failures"


class LoginLimit:
    """Counts failed logins; the counts are this process's. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._failures: dict[tuple[str, ...], deque[float]] = defaultdict(deque)

    def wait_seconds(self, address: str, name: str | None = None) -> float:
        """How long until another login may be tried; 0 for at once."""
        now = time.monotonic()
        with self._lock:
            waits = [self._wait(("address", address), MOST_BY_ADDRESS, now)]
            if name is not None:
                waits.append(self._wait((address, name), MOST_FAILURES, now))
                waits.append(self._wait(("name", name), MOST_BY_NAME, now))
            return max(waits)

    def failed(self, address: str, name: str | None = None) -> None:
        """Count a failed login; `name` is None for one by single sign-on."""
        now = time.monotonic()
        keys: list[tuple[str, ...]] = [("address", address)]
        if name is not None:
            keys += [(address, name), ("name", name)]
        with self._lock:
            if len(self._failures) > 10_000:
                self._forget(now)
            for key in keys:
                self._failures[key].append(now)

    def succeeded(self, address: str, name: str) -> None:
        """Forget the wrong passwords before the right one."""
        with self._lock:
            self._failures.pop((address, name), None)

    def _wait(self, key: tuple[str, ...], most: int, now: float) -> float:
        times = self._failures.get(key)
        while times and times[0] <= now - WINDOW_SECONDS:
            times.popleft()
        return times[-most] + WINDOW_SECONDS - now if times and len(times) >= most else 0.0

    def _forget(self, now: float) -> None:
        for key in [
            key
            for key, times in self._failures.items()
            if not times or times[-1] < now - WINDOW_SECONDS
        ]:
            del self._failures[key]


class FailedLogins:
    """Records failed logins in the audit log, so that an attack shows and cannot flood it.

    At most MOST_RECORDED in a window get an entry of their own. The others are counted, and the
    next entry on a login, or that of the server's end, has their number. Thread-safe.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._times: deque[float] = deque()
        self._unrecorded = 0

    def record(self, name: str | None, **facts: object) -> None:
        """Record a failed login, or count it; `name` is None unless a user has it.

        A name that no user has may be a password in the wrong field, so it is not recorded.
        """
        now = time.monotonic()
        with self._lock:
            while self._times and self._times[0] <= now - WINDOW_SECONDS:
                self._times.popleft()
            if len(self._times) >= MOST_RECORDED:
                self._unrecorded += 1
                return
            self._times.append(now)
        before = self.unrecorded()
        try:
            self._store.users.login_failed(name, **facts, **before)
        except StoreError:
            self._count(1 + before.get(_UNRECORDED, 0))
            raise

    def count(self) -> None:
        """Count a login that was refused before it was looked at."""
        self._count(1)

    def unrecorded(self) -> dict[str, int]:
        """The facts of an entry on failed logins that have none; they are not told again."""
        with self._lock:
            number, self._unrecorded = self._unrecorded, 0
        return {_UNRECORDED: number} if number else {}

    def close(self) -> None:
        """Record the number of failed logins that no entry has yet."""
        facts = self.unrecorded()
        if facts:
            try:
                self._store.users.login_failed(None, **facts)
            except StoreError:
                logger.warning("%d failed logins are not recorded", facts[_UNRECORDED])

    def _count(self, number: int) -> None:
        with self._lock:
            self._unrecorded += number
