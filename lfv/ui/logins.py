"""Failed logins: rate limits, and their records in the audit log."""

from __future__ import annotations

import ipaddress
import logging
import threading
import time
from collections import defaultdict, deque

from lfv.formats.words import count_of
from lfv_store import Store, StoreError

logger = logging.getLogger(__name__)

#: Failed logins within the window, by one address for one name, before the next has to wait.
MOST_FAILURES = 5
#: The same for an address whatever the name, and for a name whatever the address.
MOST_BY_ADDRESS, MOST_BY_NAME = 20, 50
WINDOW_SECONDS = 15 * 60.0
#: Failed logins within the window that are recorded individually in the audit log.
MOST_RECORDED = 50
_UNRECORDED = "unrecorded_failures"
_Keys = dict[tuple[str, ...], int]


class TooManyFailures(Exception):
    """Further logins must wait for `seconds`."""

    def __init__(self, seconds: float) -> None:
        wait = count_of(max(1, round(seconds / 60)), "minute")
        super().__init__(f"Too many failed logins. Try again in {wait}.")
        self.seconds = seconds


class LoginLimit:
    """Counts failed logins in this process. Thread-safe.

    All addresses of an IPv6 /64 network count as one, because they belong to one owner.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._failures: dict[tuple[str, ...], deque[float]] = defaultdict(deque)

    def check(self, address: str, name: str | None = None) -> None:
        """Raise TooManyFailures if a login must wait; `name` is None for single sign-on."""
        with self._lock:
            self._refuse(_keys(address, name), time.monotonic())

    def begin(self, address: str, name: str) -> None:
        """Count a login as failed before it is checked, so that parallel logins are limited too.

        Raises:
            TooManyFailures: The login must wait.
        """
        now = time.monotonic()
        keys = _keys(address, name)
        with self._lock:
            self._refuse(keys, now)
            self._count(keys, now)

    def record_failure(self, address: str) -> None:
        """Count a failed login by single sign-on."""
        with self._lock:
            self._count(_keys(address, None), time.monotonic())

    def record_success(self, address: str, name: str) -> None:
        """Uncount a successful login, and forget the failures before it."""
        with self._lock:
            for key in _keys(address, name):
                times = self._failures.get(key)
                if times:
                    times.pop()
            self._failures.pop(("both", _network(address), name), None)

    def _refuse(self, keys: _Keys, now: float) -> None:
        wait = max(self._wait(key, most, now) for key, most in keys.items())
        if wait:
            raise TooManyFailures(wait)

    def _count(self, keys: _Keys, now: float) -> None:
        if len(self._failures) > 10_000:
            self._forget(now)
        for key in keys:
            self._failures[key].append(now)

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


def _keys(address: str, name: str | None) -> _Keys:
    """Return the keys under which a login counts, with the most failures of each."""
    network = _network(address)
    keys: _Keys = {("address", network): MOST_BY_ADDRESS}
    if name is not None:
        keys |= {("both", network, name): MOST_FAILURES, ("name", name): MOST_BY_NAME}
    return keys


def _network(address: str) -> str:
    """Return an IPv4 address, or the /64 network of an IPv6 address."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if found.version == 4:
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((int(found), 64), strict=False))


class FailedLogins:
    """Records failed logins in the audit log, so that an attack is visible but cannot flood it.

    At most MOST_RECORDED in a window are recorded individually. The others are counted, and the
    next entry on a login, or the entry for the server's shutdown, has their number. Thread-safe.
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
            self._store.users.record_failed_login(name, **facts, **before)
        except StoreError:
            self._count(1 + before.get(_UNRECORDED, 0))
            raise

    def count(self) -> None:
        """Count a login that was refused without a check."""
        self._count(1)

    def unrecorded(self) -> dict[str, int]:
        """Return and reset the number of failed logins that are not recorded individually."""
        with self._lock:
            number, self._unrecorded = self._unrecorded, 0
        return {_UNRECORDED: number} if number else {}

    def close(self) -> None:
        """Record the number of failed logins that are not recorded yet."""
        facts = self.unrecorded()
        if facts:
            try:
                self._store.users.record_failed_login(None, **facts)
            except StoreError:
                logger.warning("%d failed logins are not recorded", facts[_UNRECORDED])

    def _count(self, number: int) -> None:
        with self._lock:
            self._unrecorded += number
