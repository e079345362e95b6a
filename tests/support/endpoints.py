"""A test's access to a scripted endpoint, in a thread or a separate process."""

from __future__ import annotations

import json
import multiprocessing
import threading
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.support import standin
from tests.support.waiting import PLENTY, wait_until


@dataclass(frozen=True)
class Endpoint:
    """The address of a stand-in; `close` takes it off the network, if possible.

    `host` is the kind of host that uses it, `options` are its options.
    """

    url: str
    close: Callable[[], None] = lambda: None
    host: str = "lookoutvision"
    options: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def address(self) -> str:
        """The address of the host's API."""
        return str(self.get("address")["address"]) if self.host == "edge" else self.url

    @property
    def environment(self) -> dict[str, str]:
        """The settings for commands."""
        options = ",".join(f"{name}={value}" for name, value in self.options.items())
        return {
            "LFV_ENDPOINT_URL": self.address,
            "LFV_HOST": self.host,
            "LFV_HOST_OPTIONS": options,  # empty counts as not set
        }

    @property
    def leftovers(self) -> list[str]:
        """Resources that a host has created and not deleted."""
        return list(self.get("left")["left"]) if self.host == "sagemaker" else []

    def script(self, **members: Any) -> None:
        """Set the script; see `standin`."""
        body = json.dumps(members).encode()
        request = urllib.request.Request(f"{self.url}/script", data=body, method="POST")
        urllib.request.urlopen(request, timeout=PLENTY).close()

    def get(self, what: str) -> dict[str, Any]:
        """The stand-in's facts."""
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
        """Every status of the model, with its time (seconds since the epoch)."""
        found: list[dict[str, Any]] = self._calls()["changes"]
        return found

    def all_calls(self) -> list[dict[str, Any]]:
        """Every call so far, of any operation."""
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
        """How often each image was answered, by SHA-256."""
        return Counter(call["sha256"] for call in self.calls("DetectAnomalies", "ok"))

    def wait_for_calls(self, operation: str, number: int) -> None:
        """Return once there were this many calls of an operation."""
        wait_until(lambda: len(self.calls(operation)) >= number)


#: The kinds of host that have a stand-in; the first is the one of most tests.
HOSTS = ("lookoutvision", "sagemaker", "edge")


@dataclass(frozen=True)
class StandIn:
    """How to run the stand-in for a kind of host, and the options of hosts."""

    serve: Callable[[], ThreadingHTTPServer]
    options: Mapping[str, str] = field(default_factory=dict)


def stand_in(host: str) -> StandIn:
    """The stand-in for a kind of host."""
    if host == "sagemaker":
        from tests.support import sagemaker_standin  # moto takes seconds to import

        options = {"role_arn": sagemaker_standin.ROLE}
        return StandIn(sagemaker_standin.serve, options)
    if host == "edge":
        from tests.support import edge_standin  # and protoc

        return StandIn(edge_standin.serve)
    return StandIn(lambda: standin.serve(standin.Model()))


@contextmanager
def endpoint_in_thread(host: str = "lookoutvision") -> Iterator[Endpoint]:
    """A stand-in in this process, with a state of its own."""
    chosen = stand_in(host)
    server = chosen.serve()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()

    def close() -> None:
        server.shutdown()
        thread.join()
        server.server_close()

    try:
        yield Endpoint(f"http://127.0.0.1:{server.server_address[1]}", close, host, chosen.options)
    finally:
        close()


#: Forks stand-ins from one process that has imported them all: importing moto takes seconds.
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["tests.support.sagemaker_standin", "tests.support.edge_standin"])


def _serve(host: str, ready_file: str) -> None:
    """Be the stand-in for a kind of host until killed."""
    standin.main(ready_file, stand_in(host).serve)


@contextmanager
def endpoint_in_process(folder: Path, host: str = "lookoutvision") -> Iterator[Endpoint]:
    """A stand-in that survives the processes that a test kills."""
    ready = folder / "standin.ready"
    process = _FORKS.Process(target=_serve, args=(host, str(ready)))
    process.start()
    try:
        wait_until(lambda: ready.exists() or not process.is_alive())
        assert process.is_alive(), f"the stand-in ended with status {process.exitcode}"
        yield Endpoint(ready.read_text(), host=host, options=stand_in(host).options)
    finally:
        process.kill()
        process.join()
        process.close()
