"""Pixels in POSIX shared memory: an agent on the same machine reads and writes them in place.

Shared memory outlives a process that is killed. So whoever uses a piece keeps it locked, which ends
with the process, and what nobody keeps locked is removed by the next host that is opened: a run's,
its guard's or the sweeper's.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lfv.client.errors import HostUnavailable
from lfv.formats.edge_agent import SharedMemoryHandle

_FOLDER = Path("/dev/shm")  # noqa: S108 - where Linux keeps POSIX shared memory
_PREFIX = "lfv-"


@contextmanager
def shared_memory(size: int) -> Iterator[tuple[SharedMemoryHandle, mmap.mmap]]:
    """`size` bytes of shared memory until exit, which the agent may open by the handle's name.

    Raises HostUnavailable where it cannot be had, which is no image's fault.
    """
    path, descriptor = _create()
    try:
        try:
            os.posix_fallocate(descriptor, 0, size)  # full memory is an error here, not a signal
            memory = mmap.mmap(descriptor, size)
        except OSError as error:
            raise HostUnavailable(
                f"{size:,} bytes of shared memory cannot be had: {error.strerror}; make room in "
                f"{_FOLDER}, or leave --host-option shared_memory out."
            ) from error
        with memory:
            yield SharedMemoryHandle(path.name, size, 0), memory
    finally:
        with suppress(FileNotFoundError):
            path.unlink()
        os.close(descriptor)


def _create() -> tuple[Path, int]:
    """An empty piece, locked."""
    while True:
        path = _FOLDER / f"{_PREFIX}{uuid.uuid4().hex}"
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o660)
        except OSError as error:
            raise HostUnavailable(
                f"There is no shared memory on this machine ({error.strerror}: {_FOLDER}); leave "
                "--host-option shared_memory out."
            ) from error
        if _lock(descriptor) and path.exists():
            return path, descriptor
        os.close(descriptor)  # taken for abandoned before it was locked


def remove_abandoned() -> None:
    """Remove what processes that were killed have left; what is in use stays."""
    for path in _FOLDER.glob(f"{_PREFIX}{'[0-9a-f]' * 32}"):
        with suppress(OSError):  # another user's, or gone
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                if _lock(descriptor):
                    path.unlink()
            finally:
                os.close(descriptor)


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
