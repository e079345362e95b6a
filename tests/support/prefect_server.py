"""A Prefect server in a process of its own."""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from tests.support.processes import free_port
from tests.support.waiting import PLENTY, wait_until

#: Without the events that the page shows, a flow run takes a quarter of the time.
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


def with_tables(folder: Path, name: str = "prefect.db") -> Path:
    """A folder for PREFECT_HOME, with a database that has its tables.

    Creating them takes Prefect seven seconds of CPU time, so they are created once and copied.
    """
    folder.mkdir(parents=True, exist_ok=True)
    places = (parent for parent in folder.parents if parent.name.startswith("pytest-of-"))
    place = next(places, None)
    if place is not None:  # a benchmark uses its own folder
        shutil.copyfile(_template(place), folder / name)
    return folder


def _template(place: Path) -> Path:
    """The file to copy; the first process creates it while others wait."""
    template = place / f"prefect-{version('prefect')}.db"
    with template.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not template.exists():
            home = Path(tempfile.mkdtemp(dir=place))
            command = [sys.executable, "-m", "prefect", "server", "database", "upgrade", "--yes"]
            environment = {**os.environ, **_QUIET, "PREFECT_HOME": str(home)}
            subprocess.run(command, env=environment, capture_output=True, check=True)
            unfinished = home / "whole.db"
            with (
                closing(sqlite3.connect(home / "prefect.db")) as source,
                closing(sqlite3.connect(unfinished)) as target,
            ):
                source.backup(target)
            unfinished.replace(template)
            shutil.rmtree(home)
    return template


@dataclass(frozen=True)
class PrefectServer:
    """`environment` makes a process its client."""

    port: int
    environment: Mapping[str, str]

    @property
    def api_url(self) -> str:
        return api_url_at(self.port)


def api_url_at(port: int) -> str:
    """The address of the API behind a port of this machine."""
    return f"http://127.0.0.1:{port}/api"


@contextmanager
def prefect_server(
    folder: Path, *, database: str | None = None, **changed: str
) -> Iterator[PrefectServer]:
    """A server with a database of its own in `folder`; `changed` are environment variables.

    `database` is the URL of an empty PostgreSQL database to use instead.
    """
    port = free_port()
    home = with_tables(folder) if database is None else folder
    places = {"PREFECT_HOME": str(home), "PREFECT_PROFILES_PATH": str(folder / "no")}
    if database is not None:
        asynchronous = database.replace("postgresql://", "postgresql+asyncpg://", 1)
        places["PREFECT_API_DATABASE_CONNECTION_URL"] = asynchronous
    # The server needs the address, too: its pages call the API there.
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
        with urllib.request.urlopen(f"{api_url_at(port)}/health", timeout=PLENTY) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False
