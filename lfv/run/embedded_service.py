"""The embedded service: a Lookout for Vision API on this machine that runs while it is used.

Users hold a shared lock on ``users.lock`` in the service's folder, and the service exits once it
can lock that file exclusively. The kernel releases the locks of a dead process, so the service
stops after its last user, however that user ends. Several users share one service.
"""

from __future__ import annotations

import fcntl
import http.client
import json
import os
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lfv.formats.host_kinds import LOOKOUTVISION
from lfv.run.errors import ServiceNotStarted

if TYPE_CHECKING:
    from lfv.settings import Settings

_POLL_SECONDS = 0.05
_ANSWER_SECONDS = 5.0
_UNANNOUNCED_SECONDS = 10.0
#: Bypasses proxies for traffic to this machine.
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))

#: Services started by this process, kept here to avoid a ResourceWarning. They usually end after
#: this process.
_started: list[subprocess.Popen[bytes]] = []


@dataclass(frozen=True)
class ServicePlaces:
    """The files through which users find an embedded service and keep it alive."""

    home: Path

    @property
    def users_lock(self) -> Path:
        return self.home / "users.lock"

    @property
    def start_lock(self) -> Path:
        return self.home / "start.lock"

    @property
    def ready_file(self) -> Path:
        return self.home / "ready.json"

    @property
    def service_lock(self) -> Path:
        """The lock that the service holds while it runs."""
        return self.home / "service.lock"

    @property
    def graphs(self) -> Path:
        """The folder with ONNX files that trainings may name."""
        return self.home / "graphs"

    @property
    def log_file(self) -> Path:
        return self.home / "service.log"


def is_embedded(settings: Settings, host: str | None = None) -> bool:
    """Whether the embedded service hosts models of a kind of `host` (default: the settings')."""
    return settings.endpoint_url is None and (host or settings.host) == LOOKOUTVISION


@contextmanager
def api_endpoint(settings: Settings, *, host: str | None = None) -> Iterator[str | None]:
    """Yield the address of the model API: the settings' endpoint, or the embedded service.

    Only Lookout for Vision has an embedded service. For another kind of `host` (default: the
    settings') without an endpoint the address is None, which means Amazon's.

    Raises `ServiceNotStarted`.
    """
    if not is_embedded(settings, host):
        yield settings.endpoint_url
        return
    with embedded_service(settings) as endpoint_url:
        yield endpoint_url


@contextmanager
def endpoint_ahead(settings: Settings, *, host: str | None = None) -> Iterator[None]:
    """Start the embedded service in the background, and keep it alive during the block.

    For callers that do other work before `api_endpoint`, which reports a service that fails to
    start.
    """
    if not is_embedded(settings, host):
        yield
        return
    leaving = threading.Event()

    def keep() -> None:
        with suppress(ServiceNotStarted, OSError), embedded_service(settings):
            leaving.wait()

    threading.Thread(target=keep, name="embedded-service", daemon=True).start()
    try:
        yield
    finally:
        leaving.set()


@contextmanager
def embedded_service(settings: Settings) -> Iterator[str]:
    """Yield the URL of the embedded service of `settings.home`, which runs at least until exit.

    Raises `ServiceNotStarted` if it does not answer within `settings.service_start_seconds`.
    """
    places = ServicePlaces(settings.service_home)
    places.home.mkdir(parents=True, exist_ok=True)
    # A service that is exiting holds the lock exclusively until its process is gone.
    with service_user(places.users_lock):
        with _lock(places.start_lock, fcntl.LOCK_EX):
            endpoint_url = _find(places, settings) or _start(places, settings)
        yield endpoint_url


@contextmanager
def running_service(settings: Settings) -> Iterator[str | None]:
    """Yield the URL of the service that runs on this machine, or None; does not start one.

    Raises `ServiceNotStarted` if a service is running and does not answer.
    """
    places = ServicePlaces(settings.service_home)
    if not places.home.is_dir():
        yield None
        return
    with service_user(places.users_lock):
        with _lock(places.start_lock, fcntl.LOCK_EX):
            endpoint_url = _find(places, settings)
        yield endpoint_url


def local_projects(settings: Settings) -> list[str] | None:
    """List the projects of the service on this machine, whether it runs or not.

    None if they cannot be read, for lack of permission or because the file is damaged.
    """
    file = settings.service_home / "service.db"
    if not file.exists():
        return []
    try:
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as database:
            rows = database.execute("SELECT name FROM projects ORDER BY name").fetchall()
    except sqlite3.Error:
        return None
    return [str(name) for (name,) in rows]


def is_service_alive(settings: Settings) -> bool:
    """Whether the process of a service of `settings.service_home` is running."""
    return _is_alive(ServicePlaces(settings.service_home))


def ends_with_us(settings: Settings) -> bool:
    """Whether the embedded service ends once this process no longer uses it.

    True if this process started it and no other uses it, or if it is already ending.
    """
    if not is_embedded(settings) or not _started:
        return False
    users_lock = ServicePlaces(settings.service_home).users_lock
    try:
        with _lock(users_lock, fcntl.LOCK_EX | fcntl.LOCK_NB):
            return True
    except BlockingIOError:  # other users share it, or the service holds it because it is ending
        pass
    try:
        with _lock(users_lock, fcntl.LOCK_SH | fcntl.LOCK_NB):
            return False
    except BlockingIOError:
        return True


@contextmanager
def service_user(users_lock: Path) -> Iterator[None]:
    """Keep the service that watches `users_lock` alive until exit."""
    with _lock(users_lock, fcntl.LOCK_SH):
        yield


@contextmanager
def _lock(path: Path, mode: int) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, mode)
        yield
    finally:
        os.close(descriptor)


def _find(places: ServicePlaces, settings: Settings) -> str | None:
    """Return the URL of the running service, or None if there is none.

    The service's lock shows that it runs, so a slow one is waited for. Raises `ServiceNotStarted`
    if it does not answer within `settings.service_start_seconds`.
    """
    deadline = time.monotonic() + settings.service_start_seconds
    while True:
        if ready := _ready(places):
            endpoint_url = str(ready["endpoint_url"])
            if _answers(endpoint_url):
                return endpoint_url
        if not _is_alive(places):
            return None
        if ready is None:
            # Either it has not started yet, or it requires keys and does not announce itself.
            deadline = min(deadline, time.monotonic() + _UNANNOUNCED_SECONDS)
        if time.monotonic() > deadline:
            raise ServiceNotStarted(
                f"the service on {places.home} is running but does not answer: wait until it does, "
                "end it, or give its address with --endpoint-url if it needs keys"
            )
        time.sleep(_POLL_SECONDS)


def _is_alive(places: ServicePlaces) -> bool:
    """Whether a service holds its lock on the folder."""
    try:
        with _lock(places.service_lock, fcntl.LOCK_SH | fcntl.LOCK_NB):
            return False
    except BlockingIOError:
        return True


def _ready(places: ServicePlaces) -> dict[str, Any] | None:
    """Return what the service announced when it was ready, or None before that."""
    try:
        document = json.loads(places.ready_file.read_bytes())
        return document if isinstance(document, dict) and "endpoint_url" in document else None
    except (OSError, ValueError):
        return None


def _answers(endpoint_url: str) -> bool:
    try:
        with _DIRECT.open(f"{endpoint_url}/health", timeout=_ANSWER_SECONDS) as answer:
            return bool(answer.status == 200)
    except (OSError, ValueError, http.client.HTTPException):
        return False


def _start(places: ServicePlaces, settings: Settings) -> str:
    from lfv.settings import child_environment  # a guard starts faster without pydantic

    settings.embedded_bucket.mkdir(parents=True, exist_ok=True)
    options = {
        **service_options(settings),
        "home": str(places.home),
        "ready_file": str(places.ready_file),
        "exit_when_unused": str(places.users_lock),
        "log_level": "info",
    }
    command = [sys.executable, "-m", "lfv.launch", "lfv.server.__main__", json.dumps(options)]
    with places.log_file.open("ab") as log:
        # In a new session, so that Ctrl-C reaches only the run, which stops the model first.
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env=child_environment(settings),
        )
    _started[:] = [earlier for earlier in _started if earlier.poll() is None]
    _started.append(process)
    deadline = time.monotonic() + settings.service_start_seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise ServiceNotStarted(
                f"the embedded service ended with status {process.returncode} before it answered: "
                f"{_last_line(places.log_file)} (whole log: {places.log_file})"
            )
        # The file may be left over from a service that was killed.
        if (ready := _ready(places)) and ready.get("pid") == process.pid:
            return str(ready["endpoint_url"])
        time.sleep(_POLL_SECONDS)
    process.terminate()
    raise ServiceNotStarted(
        f"the embedded service did not answer within {settings.service_start_seconds:g} s; "
        f"its log is {places.log_file}"
    )


def service_options(settings: Settings) -> dict[str, Any]:
    """Translate `settings` into options of a service on this machine.

    A training's options travel with its request instead; see `lfv.run.models.training_settings`.
    """
    return {
        "buckets": {name: str(folder) for name, folder in settings.bucket_folders.items()},
        "s3_endpoint_url": settings.s3_endpoint_url,
    }


def training_options_taken(settings: Settings) -> frozenset[str]:
    """Return the options that the running service takes with a training, by their names."""
    ready = _ready(ServicePlaces(settings.service_home)) or {}
    return frozenset(ready.get("training_options", ()))


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1][:300] if lines else "it wrote nothing"
