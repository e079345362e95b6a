"""A Prefect server in a process of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.waiting import PLENTY, wait_until

#: What the page shows is of no interest; without it a flow run takes a quarter of the time.
_QUIET = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_TRIGGERS_ENABLED": "false",
    "PREFECT_UI_ENABLED": "false",
    "PREFECT_LOGGING_TO_API_ENABLED": "false",
    "PREFECT_LOGGING_LEVEL": "ERROR",
    "PREFECT_SERVER_LOGGING_LEVEL": "ERROR",
}


@dataclass(frozen=True)
class PrefectServer:
    """`environment` makes a process its client, wherever else it would look."""

    port: int
    environment: Mapping[str, str]

    @property
    def api_url(self) -> str:
        return api_url_at(self.port)


def api_url_at(port: int) -> str:
    """The address of the API behind a port of this machine."""
    return f"http://127.0.0.1:{port}/api"


@contextmanager
def prefect_server(folder: Path, **changed: str) -> Iterator[PrefectServer]:
    """A server with a database of its own in `folder`; `changed` are environment variables."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    places = {"PREFECT_HOME": str(folder), "PREFECT_PROFILES_PATH": str(folder / "no")}
    # The server itself has the address, too: its pages call the API there.
    settings = {**_QUIET, **places, "PREFECT_API_URL": api_url_at(port), **changed}
    command = [sys.executable, "-m", "uvicorn", "--factory", "prefect.server.api.server:create_app"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--log-level", "error"]
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(command, env={**os.environ, **settings}, stdout=log, stderr=log)
    try:
        wait_until(lambda: process.poll() is not None or _answers(port))
        assert process.poll() is None, (folder / "server.log").read_text()[-2000:]
        yield PrefectServer(port, settings)
    finally:
        process.terminate()
        try:
            process.wait(PLENTY)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"{api_url_at(port)}/health", timeout=30) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False
