"""Ends an embedded service after its last client.

Clients hold a shared lock on a file. The kernel releases it however a client ends. The service
polls for the exclusive lock. When it gets the lock, no client is left. It keeps the lock until its
process ends, so that a new client waits and then starts a new service.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import time
from pathlib import Path

_POLL_SECONDS = 0.2
#: Seconds for the client that started the service to take its lock.
_GRACE_SECONDS = 10.0


async def wait_until_unused(lock_file: Path) -> None:
    """Wait until no client holds the lock, then hold it until this process ends."""
    lock_file.parent.mkdir(parents=True, exist_ok=True)
    # A bare descriptor, so that only the end of the process closes it.
    descriptor = os.open(lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    grace_ends = time.monotonic() + _GRACE_SECONDS
    seen = False
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            seen = True
        else:
            if seen or time.monotonic() > grace_ends:
                return
            fcntl.flock(descriptor, fcntl.LOCK_UN)
        await asyncio.sleep(_POLL_SECONDS)
