"""Generated images, readers, and a scripted Lookout for Vision endpoint."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from lfv.client.sources import SourceReader
from tests.support import lots
from tests.support.fake_model import FakeClock, FakeModel
from tests.support.waiting import PLENTY


@pytest.fixture
def bucket(tmp_path: Path) -> Path:
    """The folder used as bucket `parts` of `reader`."""
    folder = tmp_path / "bucket"
    folder.mkdir()
    return folder


@pytest.fixture
def reader(bucket: Path) -> Iterator[SourceReader]:
    with SourceReader({"parts": bucket}) as reader:
        yield reader


Answer = Callable[["Request"], "Reply"]


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Reply:
    """What to answer; `drop` closes the connection instead, after `delay` seconds."""

    status: int = 200
    body: Any = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    drop: bool = False


class ScriptedApi:
    """An HTTP server on loopback whose answers a test sets, and which records every request."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.answer: Answer = lambda _: Reply(404, {"message": "no answer was set"})
        self.released = threading.Event()
        script = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                request = Request(
                    self.command,
                    self.path,
                    {name.lower(): value for name, value in self.headers.items()},
                    self.rfile.read(length),
                )
                script.requests.append(request)
                reply = script.answer(request)
                if reply.delay:
                    script.released.wait(reply.delay)
                if reply.drop:
                    self.close_connection = True
                    return
                data = (
                    reply.body
                    if isinstance(reply.body, bytes)
                    else json.dumps(reply.body, default=str).encode()
                )
                self.send_response(reply.status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.send_header("x-amzn-RequestId", f"request-{len(script.requests)}")
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_DELETE = do_PUT = handle_any  # noqa: N815

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                pass  # some tests disconnect

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )
        self._thread.start()

    def queue(self, *replies: Reply) -> None:
        """Answer with these in turn, then always with the last one."""
        left = list(replies)
        self.answer = lambda _: left.pop(0) if len(left) > 1 else left[0]

    def close(self) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(PLENTY)


@pytest.fixture
def api() -> Iterator[ScriptedApi]:
    script = ScriptedApi()
    yield script
    script.close()


def api_error(status: int, code: str, message: str = "because", **headers: str) -> Reply:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status, {"Message": message}, {"x-amzn-ErrorType": code, **names})


@pytest.fixture
def lot(tmp_path: Path) -> Path:
    """Three good images, one of them twice, and a mask."""
    folder = tmp_path / "lot"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.png").write_bytes(lots.image(number))
    (folder / "again.png").write_bytes(lots.image(0))
    (folder / "mask.png").write_bytes(lots.image(255, (16, 16)))
    lots.write(
        folder,
        lots.row("0.png"),
        lots.row("1.png", "anomaly", **lots.mask("mask.png", {lots.RED: "crack"})),
        lots.row("2.png", "anomaly"),
        lots.row("again.png"),
    )
    return folder


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def model(clock: FakeClock) -> FakeModel:
    return FakeModel(clock=clock, start_seconds=120, stop_seconds=30)
