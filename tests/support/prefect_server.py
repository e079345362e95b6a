"""A Prefect server in a process of its own."""

from __future__ import annotations

import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from tests.support.waiting import PLENTY, wait_until

_DATABASE = "prefect.db"
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


def with_tables(folder: Path) -> Path:
    """A folder for PREFECT_HOME, with a database that has its tables if one was made before.

    Prefect takes seven seconds of CPU to make them. The first server leaves a copy in pytest's
    folder, beside those of all sessions.
    """
    folder.mkdir(parents=True, exist_ok=True)
    template = _template(folder)
    if template is not None and template.exists():
        shutil.copyfile(template, folder / _DATABASE)
    return folder


def _template(folder: Path) -> Path | None:
    """None outside of pytest's own folder."""
    places = (parent for parent in folder.parents if parent.name.startswith("pytest-of-"))
    place = next(places, None)
    return None if place is None else place / f"prefect-{version('prefect')}.db"


def _keep_tables(folder: Path) -> None:
    template = _template(folder)
    if template is None or template.exists():
        return
    unfinished = template.with_suffix(f".{os.getpid()}")
    with (
        closing(sqlite3.connect(folder / _DATABASE)) as source,
        closing(sqlite3.connect(unfinished)) as target,
    ):
        source.backup(target)
    unfinished.replace(template)


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
    places = {"PREFECT_HOME": str(with_tables(folder)), "PREFECT_PROFILES_PATH": str(folder / "no")}
    # The server itself has the address, too: its pages call the API there.
    settings = {**_QUIET, **places, "PREFECT_API_URL": api_url_at(port), **changed}
    command = [sys.executable, "-m", "uvicorn", "--factory", "prefect.server.api.server:create_app"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--log-level", "error"]
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(command, env={**os.environ, **settings}, stdout=log, stderr=log)
    try:
        wait_until(lambda: process.poll() is not None or _answers(port))
        assert process.poll() is None, (folder / "server.log").read_text()[-2000:]
        _keep_tables(folder)
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
