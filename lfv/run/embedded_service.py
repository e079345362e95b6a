"""The embedded service: a Lookout for Vision API on this machine that lives while it is used.

Its users hold a shared lock on ``users.lock`` in the service's folder; the service ends itself
once it can lock that file exclusively.  The kernel drops a lock with its process, so the service
outlives no user, however that user ends, and two users share one service.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lfv.run.errors import ServiceNotStarted
from lfv.settings import Settings, child_environment

_POLL_SECONDS = 0.05

#: Services that this process started.  They end after their last user has let go, which is usually
#: after us; until then their entries are kept, so that nothing reports them as forgotten.
_started: list[subprocess.Popen[bytes]] = []


@dataclass(frozen=True)
class ServicePlaces:
    """The files by which the users of one embedded service find it and keep it alive."""

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
    def log_file(self) -> Path:
        return self.home / "service.log"


@contextmanager
def api_endpoint(
    settings: Settings, *, training: bool = False, host: str | None = None
) -> Iterator[str | None]:
    """Address of the model API: the settings' endpoint, or the embedded service until exit.

    Only Lookout for Vision has an embedded service: for another kind of `host` (default: the
    settings') without an endpoint the address is None, Amazon's own.
    With `training`, the embedded service gets the backbone, detector or network of the settings.

    Raises `ServiceNotStarted`.
    """
    if settings.endpoint_url is not None or (host or settings.host) != "lookoutvision":
        yield settings.endpoint_url
        return
    with embedded_service(settings, training=training) as endpoint_url:
        yield endpoint_url


@contextmanager
def embedded_service(settings: Settings, *, training: bool = False) -> Iterator[str]:
    """Endpoint URL of the embedded service of `settings.home`, which runs at least until exit.

    For a `training` it has to have the backbone, detector or network of `settings`; nothing else
    needs one.

    Raises `ServiceNotStarted` when it does not answer in `settings.service_start_seconds`, or was
    up already without what `settings` want.
    """
    places = ServicePlaces(settings.service_home)
    places.home.mkdir(parents=True, exist_ok=True)
    # A service that is just ending holds the lock exclusively until its process is gone.
    with service_user(places.users_lock):
        with _locked(places.start_lock, fcntl.LOCK_EX):
            endpoint_url = _running(places) or _start(places, settings, training=training)
            if training:
                _check_graph(places, settings)
        yield endpoint_url


@contextmanager
def service_user(users_lock: Path) -> Iterator[None]:
    """Keep the service that watches `users_lock` alive until exit."""
    with _locked(users_lock, fcntl.LOCK_SH):
        yield


@contextmanager
def _locked(path: Path, mode: int) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, mode)
        yield
    finally:
        os.close(descriptor)


def _running(places: ServicePlaces) -> str | None:
    """Endpoint URL of the service that is up, or None."""
    try:
        endpoint_url = str(json.loads(places.ready_file.read_bytes())["endpoint_url"])
        with urllib.request.urlopen(f"{endpoint_url}/health", timeout=5) as answer:  # noqa: S310
            return endpoint_url if answer.status == 200 else None
    except (OSError, ValueError, KeyError, TypeError, urllib.error.URLError):
        return None


def _start(places: ServicePlaces, settings: Settings, *, training: bool) -> str:
    places.ready_file.unlink(missing_ok=True)
    settings.embedded_bucket.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "lfv.server", "--home", str(places.home), "--port", "0"]
    command += ["--ready-file", str(places.ready_file)]
    command += ["--exit-when-unused", str(places.users_lock)]
    for name, folder in settings.bucket_folders.items():
        command += ["--bucket", f"{name}={folder}"]
    for role, graph in _graphs(settings) if training else ():
        command += [f"--{role}", str(graph), "--graph-mib", str(settings.graph_mib)]
    if training and settings.network:
        command.append("--network")
    if settings.s3_endpoint_url:
        command += ["--s3-endpoint-url", settings.s3_endpoint_url]
    with places.log_file.open("ab") as log:
        # A session of its own: Ctrl-C at a terminal is for the run, which stops the model first.
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
        if places.ready_file.exists() and (endpoint_url := _running(places)):
            return endpoint_url
        time.sleep(_POLL_SECONDS)
    process.terminate()
    raise ServiceNotStarted(
        f"the embedded service did not answer within {settings.service_start_seconds:g} s; "
        f"its log is {places.log_file}"
    )


def _graphs(settings: Settings) -> list[tuple[str, Path]]:
    given = (("backbone", settings.backbone), ("detector", settings.detector))
    return [(role, path) for role, path in given if path is not None]


def _check_graph(places: ServicePlaces, settings: Settings) -> None:
    """Make sure that the service, which may have been up before, has the graph of `settings`, or
    trains a network if they say so."""
    if settings.network and "network" not in _told_graphs(places):
        raise ServiceNotStarted(
            "the service on this machine is up already and trains no network: end what uses it, "
            "or start it with `lfv serve --network`"
        )
    for role, path in _graphs(settings):
        try:
            with path.open("rb") as file:
                wanted = f"{role}-{hashlib.file_digest(file, 'sha256').hexdigest()}"
        except OSError as error:
            raise ServiceNotStarted(f"the {role} {path} can't be used: {error}") from error
        if wanted not in _told_graphs(places):
            raise ServiceNotStarted(
                f"the service on this machine is up already, without the {role} {path}: end what "
                f"uses it, or start it with `lfv serve --{role}`"
            )


def _told_graphs(places: ServicePlaces) -> list[str]:
    """What the service said that its trainings are given."""
    try:
        return list(json.loads(places.ready_file.read_bytes()).get("graphs", []))
    except (OSError, ValueError):
        return []


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1][:300] if lines else "it wrote nothing"
