"""The server behind `lfv ui`."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import uvicorn

from lfv.ui.app import create_app
from lfv.ui.context import UiOptions

_BACKLOG = 128


class PortTaken(Exception):
    """The server cannot listen on the address."""


def run_server(
    options: UiOptions,
    host: str,
    port: int,
    ready: Callable[[str], None],
    *,
    certificate: Path | None = None,
    key: Path | None = None,
    behind_proxy: bool = False,
) -> None:
    """Serve until a signal ends it; `ready` is called with the address.

    With `behind_proxy`, a proxy on this machine passes on clients' addresses (X-Forwarded-For).

    Raises:
        PortTaken: The server cannot listen on the address.
    """
    listening = _listen(host, port)
    config = uvicorn.Config(
        create_app(options),
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=behind_proxy,
        forwarded_allow_ips=["127.0.0.1", "::1"],
        timeout_graceful_shutdown=5,
        ssl_certfile=certificate,
        ssl_keyfile=key,
    )
    scheme = "https" if certificate else "http"
    number = listening.getsockname()[1]
    name = f"[{host}]" if ":" in host else host
    ready(f"{scheme}://{name}:{number}")
    with listening:
        uvicorn.Server(config).run(sockets=[listening])


def _listen(host: str, port: int) -> socket.socket:
    """Return a listening socket, so that early connections wait until the server is up."""
    try:
        listening = socket.create_server(
            (host, port),
            family=socket.AF_INET6 if ":" in host else socket.AF_INET,
            backlog=_BACKLOG,
        )
    except OSError as error:
        raise PortTaken(
            f"cannot listen on {host}:{port}: {error.strerror}; choose another --port or --host"
        ) from error
    # asyncio sets this only on sockets that it created. Without it, each response's body waits 40
    # ms for the acknowledgement of its header.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening
