"""Puts the service together and runs it."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import re
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import partial
from pathlib import Path

import orjson
import uvicorn
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from lfv.client.api.service_model import API_VERSION
from lfv.formats.training_request import NAMES
from lfv.server import metrics
from lfv.server.api import Api
from lfv.server.background import BackgroundWork
from lfv.server.buckets import Buckets
from lfv.server.custom_models import accept_graphs
from lfv.server.database import Database
from lfv.server.detection import Detector
from lfv.server.embedded import wait_until_unused
from lfv.server.errors import OptionsError
from lfv.server.home import Home
from lfv.server.hosting.manager import HostingManager
from lfv.server.http_protocol import bounded_protocol
from lfv.server.jobs.context import JobContext
from lfv.server.options import ServeOptions
from lfv.server.request_body import is_framed_twice
from lfv.server.request_origin import headers_of, is_from_here

_log = logging.getLogger(__name__)
_GRACEFUL_SECONDS = 20
_BACKLOG = 2048
_PAGE_PATH = re.compile(r"(?:/[\w.~-]+)*?(/[a-z]+)")
_END_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def run(options: ServeOptions, *, ready: Callable[[str], None] = lambda _: None) -> None:
    """Serve until SIGTERM or SIGINT or, if embedded, until no client is left.

    ``ready`` is called with the endpoint's URL once it accepts connections. Raises OptionsError
    and HomeError before that.
    """
    options.check()
    asyncio.run(_serve(options, ready))


async def _serve(options: ServeOptions, ready: Callable[[str], None]) -> None:
    with closing(_listen(options)) as listener, closing(Home(options.home)) as home:
        if options.ready_file is not None:
            _check_writable(options.ready_file)
        graphs = await asyncio.to_thread(accept_graphs, options, home)
        with closing(Database(home.database)) as database:
            await _serve_from(options, listener, home, database, graphs, ready)


async def _serve_from(
    options: ServeOptions,
    listener: socket.socket,
    home: Home,
    database: Database,
    graphs: Mapping[str, Path],
    ready: Callable[[str], None],
) -> None:
    buckets = Buckets(options.buckets, s3=options.s3, s3_endpoint_url=options.s3_endpoint_url)
    context = JobContext(database, buckets, home, options.limits, graphs, options.training_options)
    hosting = HostingManager(database, home, options.engine, options.limits, options.serving)
    work = BackgroundWork(context, hosting, options.engine)
    measured = metrics.Metrics(lambda: hosting.pools)
    api = Api(options, database, work, Detector(database, hosting), measured)
    pages: dict[str, Callable[[bool], Response]] = {
        "/health": partial(_health, hosting),
        "/metrics": partial(_metrics, options, measured),
    }

    # Starlette's router would match the decoded path, in which an encoded slash is a separator.
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        page = pages.get(_page_name(scope)) if scope["method"] == "GET" else None
        headers = headers_of(scope)
        from_here = is_from_here(scope, headers)
        # If no keys are set, the API refuses other machines.
        if page is None or is_framed_twice(headers) or not (from_here or options.credentials):
            await api(scope, receive, send)
        else:
            await page(from_here)(scope, receive, send)

    server = uvicorn.Server(_uvicorn_config(options, app))
    watch = asyncio.create_task(_end_when_unused(options, server))
    work.resume(embedded=options.embedded)
    try:
        with _signals_end(server):
            # The listener queues connections until uvicorn accepts them.
            _announce(options, listener, ready)
            if options.embedded:  # its client waits for the model
                hosting.launch_ahead()
            await server.serve(sockets=[listener])
    finally:
        if options.ready_file is not None:
            with suppress(OSError):
                options.ready_file.unlink()
        await hosting.close()
        await asyncio.to_thread(work.close)
        api.close()
        watch.cancel()
        with suppress(asyncio.CancelledError):
            await watch


def _page_name(scope: Scope) -> str:
    """Return the last part of a path outside the API; an endpoint URL's path may precede it."""
    found = _PAGE_PATH.fullmatch(scope["path"])
    return found[1] if found and f"/{API_VERSION}/" not in scope["path"] else ""


@contextmanager
def _signals_end(server: uvicorn.Server) -> Iterator[None]:
    """Let SIGINT and SIGTERM end the server, and leave the process alive to clean up.

    When it stops, Uvicorn raises the caught signals again for the previous handler. Here that is
    the server's own, because the default one would end the process.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = {number: signal.signal(number, server.handle_exit) for number in _END_SIGNALS}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _listen(options: ServeOptions) -> socket.socket:
    with ExitStack() as stack:
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(
                options.host, options.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            listener = stack.enter_context(socket.socket(family, kind, protocol))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            # Listen now: bind() can succeed twice on one port; listen() fails for the second.
            listener.listen(_BACKLOG)
        except (OSError, UnicodeError) as error:  # UnicodeError: an invalid host name
            where = f"{options.host}:{options.port}"
            raise OptionsError(f"the service can't listen on {where}: {error}") from error
        stack.pop_all()
    return listener


def _uvicorn_config(options: ServeOptions, app: ASGIApp) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=bounded_protocol(options.transport),
        ws="none",
        loop="asyncio",
        lifespan="off",
        log_config=None,
        access_log=False,
        backlog=_BACKLOG,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=int(options.transport.keep_alive),
        timeout_graceful_shutdown=_GRACEFUL_SECONDS,
        ssl_certfile=options.tls_certificate,
        ssl_keyfile=options.tls_key,
    )


def endpoint_url(options: ServeOptions, listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    scheme = "http" if options.tls_certificate is None else "https"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def _announce(
    options: ServeOptions,
    listener: socket.socket,
    ready: Callable[[str], None],
) -> None:
    url = endpoint_url(options, listener)
    _log.info("listening on %s", url)
    if options.ready_file is not None:
        document = {
            "endpoint_url": url,
            "pid": os.getpid(),
            "training_options": sorted(NAMES),
        }
        _write_atomically(options.ready_file, orjson.dumps(document))
    ready(url)


def _write_atomically(path: Path, data: bytes) -> None:
    """Replace a file in one step. Raises OptionsError."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    except OSError as error:
        raise _unwritable(path, error) from error


def _check_writable(path: Path) -> None:
    """Check early that the ready file can be written. Raises OptionsError."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch()
        temporary.unlink()
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> OptionsError:
    return OptionsError(f"the ready file {path} can't be written: {error.strerror}")


async def _end_when_unused(options: ServeOptions, server: uvicorn.Server) -> None:
    if options.exit_when_unused is not None:
        await wait_until_unused(options.exit_when_unused)
        _log.info("the last client has left")
        server.should_exit = True


def _health(hosting: HostingManager, from_here: bool) -> JSONResponse:
    if not from_here:  # other machines learn only that it works
        return JSONResponse({"status": "ok"})
    hosted = [
        {
            "project": pool.model.project_name,
            "version": str(pool.model.version),
            "units": pool.units,
            "in_hand": pool.in_hand,
            "waiting": pool.waiting,
        }
        for pool in hosting.pools
    ]
    return JSONResponse({"status": "ok", "hosted": hosted})


def _metrics(options: ServeOptions, measured: metrics.Metrics, from_here: bool) -> Response:
    if not from_here and not options.open_metrics:
        return Response("metrics are only available from this machine", status_code=403)
    return Response(measured.exposition(), media_type=metrics.CONTENT_TYPE)
