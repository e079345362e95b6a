"""A service that belongs to the clients using it, and ends when the last of them has.

Clients hold a shared lock on a file, which the kernel lets go however they end. The service tries
for the exclusive lock; once it has it, nobody is left, and it keeps it until it is gone, so that
a new client waits for that and starts a new one.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import time
from pathlib import Path

_POLL_SECONDS = 0.2
_GRACE_SECONDS = 10.0
"""How long a client may take, after it started the service, to take its lock."""


async def until_unused(lock_file: Path) -> None:
    """Wait until no client holds the lock, and take it for as long as this process lives."""
    lock_file.parent.mkdir(parents=True, exist_ok=True)
    # A bare descriptor: only the kernel closes it, when nothing of this process is left.
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
