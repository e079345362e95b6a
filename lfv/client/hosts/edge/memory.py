"""Passes pixels in POSIX shared memory, which an agent on the same machine uses in place.

Shared memory outlives a killed process. So each process keeps a lock on the memory it uses, which
ends with the process. The next host that is opened, by a run, a guard or the sweeper, removes
memory without a lock.
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
from lfv.formats.edge_agent_pb2 import SharedMemoryHandle

_FOLDER = Path("/dev/shm")  # noqa: S108 - where Linux keeps POSIX shared memory
_PREFIX = "lfv-"


@contextmanager
def shared_memory(size: int) -> Iterator[tuple[SharedMemoryHandle, mmap.mmap]]:
    """Provide `size` bytes of shared memory until exit; the agent opens it by the handle's name.

    Raises HostUnavailable if it cannot be allocated.
    """
    path, descriptor = _create()
    try:
        try:
            os.posix_fallocate(descriptor, 0, size)  # fails here if memory is full, not by SIGBUS
            memory = mmap.mmap(descriptor, size)
        except OSError as error:
            raise HostUnavailable(
                f"{size:,} bytes of shared memory cannot be allocated: {error.strerror}; make room "
                f"in {_FOLDER}, or leave out --host-option shared_memory."
            ) from error
        with memory:
            yield SharedMemoryHandle(name=path.name, size=size), memory
    finally:
        with suppress(FileNotFoundError):
            path.unlink()
        os.close(descriptor)


def _create() -> tuple[Path, int]:
    """Create an empty, locked file in shared memory."""
    while True:
        path = _FOLDER / f"{_PREFIX}{uuid.uuid4().hex}"
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o660)
        except OSError as error:
            raise HostUnavailable(
                f"This machine has no shared memory ({error.strerror}: {_FOLDER}); leave "
                "out --host-option shared_memory."
            ) from error
        if _lock(descriptor) and path.exists():
            return path, descriptor
        os.close(descriptor)  # removed by another process before it was locked


def remove_abandoned() -> None:
    """Remove the shared memory of killed processes; memory in use stays."""
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
