"""Pixels in POSIX shared memory: an agent on the same machine reads and writes them in place."""

from __future__ import annotations

import mmap
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lfv.client.errors import HostRejected
from lfv.formats.edge_agent import SharedMemoryHandle

_FOLDER = Path("/dev/shm")  # noqa: S108 - where Linux keeps POSIX shared memory


@contextmanager
def shared_memory(size: int) -> Iterator[tuple[SharedMemoryHandle, mmap.mmap]]:
    """`size` bytes of shared memory until exit, which the agent may open by the handle's name."""
    name = f"lfv-{uuid.uuid4().hex}"
    path = _FOLDER / name
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o660)
    except OSError as error:
        raise HostRejected(f"There is no shared memory on this machine: {error}.") from error
    try:
        try:
            os.posix_fallocate(descriptor, 0, size)  # full memory is an error here, not a signal
            memory = mmap.mmap(descriptor, size)
        except OSError as error:
            raise HostRejected(
                f"{size:,} bytes of shared memory cannot be had: {error}."
            ) from error
        finally:
            os.close(descriptor)
        with memory:
            yield SharedMemoryHandle(name, size, 0), memory
    finally:
        with suppress(FileNotFoundError):
            path.unlink()
