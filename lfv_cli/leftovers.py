"""Nothing that a command started outlives it, however it ends.

Without a Prefect API a command that runs a flow has Prefect start a temporary server, which Prefect
ends when the interpreter exits in good order.  A process that is killed does nothing in good order.
So a watcher, ``python -m lfv_cli.leftovers MARK``, holds one end of a pipe, whose other end the
kernel closes with the command; then it ends the server that carries the command's mark in its
environment, if there still is one.  It imports the standard library only and takes some 20 ms.

Where there is no /proc (macOS) nothing is watched.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import NoReturn

_PROC = Path("/proc")
_SERVER = b"prefect.server.api.server:create_app"
_PATIENCE_SECONDS = 5.0
_TERMINATED = 143


@contextmanager
def ending_cleanly_on_sigterm() -> Iterator[None]:
    """Turn SIGTERM into an exit with status 143, so that everything is put away on the way out."""
    before = signal.signal(signal.SIGTERM, _exit)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _exit(_number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(_TERMINATED)


@contextmanager
def temporary_server_ended_with_us() -> Iterator[None]:
    """See the module; to be entered before a flow begins."""
    from prefect.settings import get_current_settings

    from lfv_settings import mark_children

    if get_current_settings().api.url is not None or not _PROC.is_dir():
        yield
        return
    mark = mark_children(uuid.uuid4().hex)
    process = subprocess.Popen(
        [sys.executable, "-m", "lfv_cli.leftovers", mark],
        stdin=subprocess.PIPE,
        start_new_session=True,
    )
    # Not ended here: Prefect ends its server after us.  The pipe closes with our process.
    _watchers.append(process)
    yield


_watchers: list[subprocess.Popen[bytes]] = []


def end_marked_servers(mark: str) -> int:
    """End Prefect's temporary servers whose environment has the entry `mark`; how many there were.

    SIGTERM first, and SIGKILL for those that take too long.
    """
    servers = []
    for pid in _marked_servers(mark.encode()):
        with suppress(OSError):
            descriptor = os.pidfd_open(pid)
            signal.pidfd_send_signal(descriptor, signal.SIGTERM)
            servers.append(descriptor)
    for descriptor in servers:
        if not select.select([descriptor], [], [], _PATIENCE_SECONDS)[0]:
            with suppress(OSError):
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        os.close(descriptor)
    return len(servers)


def _marked_servers(mark: bytes) -> Iterator[int]:
    for folder in _PROC.iterdir():
        if folder.name.isdecimal():
            with suppress(OSError):
                marked = mark in (folder / "environ").read_bytes().split(b"\0")
                if marked and _SERVER in (folder / "cmdline").read_bytes().split(b"\0"):
                    yield int(folder.name)


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.buffer.read()
    end_marked_servers(sys.argv[1])


if __name__ == "__main__":
    main()
