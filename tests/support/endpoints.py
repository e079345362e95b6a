"""A scripted endpoint as a test sees it: in a thread of the test, or as a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.support import standin
from tests.support.waiting import PLENTY, wait_until


@dataclass(frozen=True)
class Endpoint:
    """Where a stand-in answers; `close` takes it off the network, where a test can do that."""

    url: str
    close: Callable[[], None] = lambda: None

    def script(self, **members: Any) -> None:
        """Set what happens next; see `standin`."""
        body = json.dumps(members).encode()
        request = urllib.request.Request(f"{self.url}/script", data=body, method="POST")
        urllib.request.urlopen(request, timeout=PLENTY).close()

    def get(self, what: str) -> dict[str, Any]:
        """What the stand-in says of itself."""
        with urllib.request.urlopen(f"{self.url}/{what}", timeout=PLENTY) as answer:
            found: dict[str, Any] = json.load(answer)
            return found

    def _calls(self) -> dict[str, Any]:
        return self.get("calls")

    @property
    def status(self) -> str:
        """The model's status now."""
        return str(self._calls()["status"])

    @property
    def changes(self) -> list[dict[str, Any]]:
        """Every status the model came to, with its time (seconds since the epoch)."""
        found: list[dict[str, Any]] = self._calls()["changes"]
        return found

    def all_calls(self) -> list[dict[str, Any]]:
        """Every call so far, of whatever operation."""
        found: list[dict[str, Any]] = self._calls()["calls"]
        return found

    def calls(self, operation: str, outcome: str | None = None) -> list[dict[str, Any]]:
        """The calls of one operation so far, the first one first."""
        return [
            call
            for call in self._calls()["calls"]
            if call["operation"] == operation and outcome in {None, call["outcome"]}
        ]

    def asked(self) -> Counter[str]:
        """How often each image was answered for, by SHA-256."""
        return Counter(call["sha256"] for call in self.calls("DetectAnomalies", "ok"))

    def wait_for_calls(self, operation: str, number: int) -> None:
        """Return once there were so many calls of an operation."""
        wait_until(lambda: len(self.calls(operation)) >= number)


@contextmanager
def endpoint_in_thread(
    serve: Callable[[], ThreadingHTTPServer] = lambda: standin.serve(standin.Model()),
) -> Iterator[Endpoint]:
    """A stand-in in this process, with a state of its own."""
    server = serve()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()

    def close() -> None:
        server.shutdown()
        thread.join()
        server.server_close()

    try:
        yield Endpoint(f"http://127.0.0.1:{server.server_address[1]}", close)
    finally:
        close()


@contextmanager
def endpoint_in_process(folder: Path) -> Iterator[Endpoint]:
    """A stand-in that outlives whatever is killed around it."""
    ready = folder / "standin.ready"
    process = subprocess.Popen([sys.executable, standin.__file__, str(ready)])
    try:
        wait_until(ready.exists)
        yield Endpoint(ready.read_text())
    finally:
        process.kill()
        process.wait()
