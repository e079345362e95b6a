"""The Prefect server that is configured, and one that is starting."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from lfv.cli import prefect_api
from lfv.cli.prefect_api import PrefectUnreachable, require_configured
from tests.support.processes import free_port
from tests.support.waiting import PLENTY


class _Healthy(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-length", "4")
        self.end_headers()
        self.wfile.write(b"true")

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def _server(port: int) -> Iterator[None]:
    with HTTPServer(("127.0.0.1", port), _Healthy) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


def test_a_server_that_is_starting_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The README starts the server in one line and deploys in the next."""
    port = free_port()
    url = f"http://127.0.0.1:{port}/api"
    said: list[str] = []
    refused, found = threading.Event(), threading.Event()

    def note(text: str) -> None:
        said.append(text)
        refused.set()

    monkeypatch.setattr(prefect_api, "note", note)

    def start() -> None:
        refused.wait(PLENTY)
        with _server(port):
            found.wait(PLENTY)

    thread = threading.Thread(target=start)
    with temporary_settings({PREFECT_API_URL: url}):
        with pytest.raises(PrefectUnreachable, match=f"{url} does not respond"):
            require_configured()
        thread.start()
        try:
            assert require_configured(patience_seconds=PLENTY) == url
        finally:
            refused.set()
            found.set()
            thread.join()
    assert said == [f"lfv: waiting for Prefect's API at {url}, as it may be starting"]
