"""The Prefect API for flows that a command runs: the configured one, or a temporary server.

Prefect itself would start a temporary server in the command's process group. Ctrl-C would then end
the server first, and the run would fail while it waits for that server instead of stopping its
model. So the command starts the server in another session. The server exits when its standard
input is closed, which the kernel does when the command ends in any way.

PrefectUnreachable    no Prefect API is available to run a flow
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from lfv.cli.errors import CommandError
from lfv.cli.output import note
from lfv.cli.signals import terminate
from lfv.launch import loading
from lfv.settings import prefect_may_be_configured, temporary_prefect_environment, use_prefect_api

if TYPE_CHECKING:
    import uvicorn

#: A first start creates a database, which takes much longer than usual on a busy machine.
_START_SECONDS = 180.0
_ENDING_SECONDS = 5.0
_LOOK_EVERY_SECONDS = 0.5

#: Servers that this process started. Kept, so that their pipes stay open until this process
#: has sent Prefect its last message and ended.
_servers: list[subprocess.Popen[bytes]] = []


class PrefectUnreachable(CommandError):
    """No Prefect API is available to run a flow."""


@contextmanager
def exit_cleanly_on_sigterm() -> Iterator[None]:
    """Turn SIGTERM into an exit with status 143, so that cleanup runs."""
    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class TemporaryServer:
    """A Prefect server for this command, which starts when this object is made.

    The server exits once its pipe is closed, at the latest when this process ends.
    """

    def __init__(self, log: Path) -> None:
        self._log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "lfv.launch", "lfv.cli.prefect_api"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                start_new_session=True,
                env=temporary_prefect_environment(),
            )
        _servers.append(self._process)

    def await_url(self) -> str:
        """Return the URL of its API, once it responds. Raises `PrefectUnreachable`."""
        output = self._process.stdout
        port = output.readline().strip().decode() if output is not None else ""
        hint = f"its log is {self._log}"
        if not port:
            raise PrefectUnreachable(f"Prefect's temporary server did not start; {hint}")
        url = f"http://127.0.0.1:{port}/api"
        try:
            # A server that is starting lets the first request wait.
            urllib.request.urlopen(f"{url}/health", timeout=_START_SECONDS).close()  # noqa: S310
        except OSError as error:
            reason = getattr(error, "reason", error)
            raise PrefectUnreachable(
                f"Prefect's temporary server does not respond ({reason}); {hint}"
            ) from None
        return url

    def end(self) -> None:
        """Let the server exit, because it is not needed."""
        if self._process.stdin is not None:
            self._process.stdin.close()


def start_server_early(log: Path) -> TemporaryServer | None:
    """Start a temporary server, which takes seconds, unless an API seems to be configured."""
    return None if prefect_may_be_configured() else TemporaryServer(log)


@contextmanager
def prefect_api(log: Path, early_server: TemporaryServer | None = None) -> Iterator[None]:
    """Make a Prefect API available to flows that this process runs in the block.

    Args:
        log: Where a temporary server logs to.
        early_server: A temporary server that is starting, used if no Prefect API is configured.

    Raises `PrefectUnreachable`.
    """
    from prefect.settings import get_current_settings

    configured = get_current_settings().api.url
    if configured is not None:
        if early_server is not None:
            early_server.end()
        _require_responding(configured)
        yield
        return
    from prefect.context import refresh_global_settings_context
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    use_prefect_api((early_server or TemporaryServer(log)).await_url())
    refresh_global_settings_context()
    # No heartbeats: this server ends with the run, so it would never notice a missing one, and at
    # the end of a flow Prefect waits up to a second for the thread that sends them.
    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        yield


def _require_responding(url: str, patience_seconds: float = 0.0) -> None:
    """Call the API as Prefect's client does, with its certificates and keys."""
    import httpx
    from prefect.client.orchestration import get_client

    deadline = time.monotonic() + patience_seconds
    waiting = False
    with get_client(sync_client=True) as client:
        while isinstance(error := client.api_healthcheck(), httpx.TransportError):
            if time.monotonic() > deadline:
                raise PrefectUnreachable(
                    f"Prefect's API at {url} does not respond ({error}); start it, or check "
                    "PREFECT_API_URL"
                )
            if not waiting:
                note(f"lfv: waiting for Prefect's API at {url}, as it may be starting")
            waiting = True
            time.sleep(_LOOK_EVERY_SECONDS)


def require_configured(*, patience_seconds: float = 0.0) -> str:
    """Return the URL of the configured Prefect API. Raises `PrefectUnreachable`.

    `patience_seconds` is how long a server may take to start.
    """
    from prefect.settings import get_current_settings

    url = get_current_settings().api.url
    if url is None:
        raise PrefectUnreachable("no Prefect server is configured: set PREFECT_API_URL")
    _require_responding(url, patience_seconds)
    return url


def serve(stdin: int, stdout: int) -> None:
    """Run a temporary Prefect server until `stdin` is closed; first write its port to `stdout`."""
    import uvicorn

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        # From here on a request waits for its answer instead of being refused.
        listener.listen()
        os.write(stdout, f"{listener.getsockname()[1]}\n".encode())
        os.close(stdout)
        config = uvicorn.Config(
            "prefect.server.api.server:create_app",
            factory=True,
            lifespan="on",
            log_level="error",
            timeout_graceful_shutdown=1,
        )
        server = uvicorn.Server(config)
        threading.Thread(target=_exit_when_closed, args=(stdin, server), daemon=True).start()
        with loading():
            config.load()
        server.run(sockets=[listener])


def _exit_when_closed(stdin: int, server: uvicorn.Server) -> NoReturn:
    while os.read(stdin, 4096):
        pass
    server.should_exit = True
    threading.Event().wait(_ENDING_SECONDS)  # normally the process exits before
    os._exit(1)


def main() -> None:
    serve(sys.stdin.fileno(), sys.stdout.fileno())


if __name__ == "__main__":
    main()
