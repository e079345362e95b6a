"""The processes of a plant on one machine, their deployments and their state."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from lfv.cli.deploy import FLOW_RUN, set_command
from lfv.cli.plant.left_runs import cancel_runs, end_left_runs, end_runs
from lfv.cli.plant.running import is_running
from lfv.cli.plant.schedule import SCHEDULED
from lfv.cli.plant.server_api import ApiFailure, ServerApi
from lfv.cli.plant.supervisor import Service, ServiceState
from lfv.cli.plant.waiting import wait_until
from lfv.run.embedded_service import is_embedded
from lfv.settings import Settings, child_environment

logger = logging.getLogger(__name__)

#: The file of this plant's own deployments, in its folder.
OWN_FILE = "prefect.yaml"
_SWEEP_SECONDS = 300.0
_API_SECONDS = 60.0
#: Timeout of the check for the work pool, during which the supervisor does nothing else.
_POOL_SECONDS = 5.0
_WORKER_SECONDS = 120.0
_DEPLOY_SECONDS = 300.0


@dataclass(frozen=True)
class Schedule:
    """Source, project and times of scheduled runs."""

    source: str
    project: str
    times: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.source}, project {self.project}, {' and '.join(self.times)}"


@dataclass(frozen=True)
class Plant:
    """A plant. All its files are below the home folder, and its processes listen on loopback."""

    settings: Settings
    port: int
    ui_port: int
    prefect_file: Path

    @property
    def folder(self) -> Path:
        """The folder with the state and the logs of the processes."""
        return self.settings.home / "plant"

    @property
    def api_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/api"

    @property
    def page_url(self) -> str:
        return self.api_url.removesuffix("/api")

    @property
    def ui_url(self) -> str:
        return f"http://127.0.0.1:{self.ui_port}"

    @property
    def environment(self) -> dict[str, str]:
        """The environment of its processes."""
        home = self.settings.home / "prefect"
        return child_environment(
            self.settings,
            LFV_HOME=str(self.settings.home),
            LFV_UI_URL=self.settings.ui_url or self.ui_url,
            PREFECT_HOME=str(home),
            PREFECT_PROFILES_PATH=str(home / "profiles.toml"),
            PREFECT_API_URL=self.api_url,
            PREFECT_SERVER_ANALYTICS_ENABLED="false",
            PREFECT_WORKER_QUERY_SECONDS="1",
            # Also delete the logs of deleted flow runs.
            PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED="events,orphans",
            DO_NOT_TRACK="1",
        )

    @property
    def pool(self) -> str:
        """The work pool of its worker and of its deployments."""
        content: dict[str, Any] = yaml.safe_load(self.prefect_file.read_text(encoding="utf-8"))
        return str(content["deployments"][0]["work_pool"]["name"])

    def services(self) -> list[Service]:
        """Its processes, in the order in which they start."""
        python, environment = sys.executable, self.environment
        server = [python, "-m", "uvicorn", "--factory", "prefect.server.api.server:create_app"]
        server += ["--host", "127.0.0.1", "--port", str(self.port), "--log-level", "warning"]
        worker = [python, "-m", "prefect", "worker", "start", "--pool", self.pool]
        worker += ["--type", "process", "--name", "plant"]
        sweep = [python, "-m", "lfv.cli", "sweep"]
        pages = [python, "-m", "lfv.cli", "ui", "serve", "--port", str(self.ui_port)]
        models = [python, "-m", "lfv.launch", "lfv.cli.plant.model_service"]
        found = [Service("prefect-server", server, environment)]
        if is_embedded(self.settings):
            found.append(Service("model-service", models, environment))
        return [
            *found,
            # Without server or pool the worker would exit, and be restarted after growing delays.
            Service(
                "worker",
                worker,
                environment,
                can_start=self._can_start_worker,
                before_end=self._cancel_runs,
                after_end=self._end_runs,
            ),
            Service("pages", pages, environment),
            Service("sweeper", sweep, environment, restart_after=_SWEEP_SECONDS),
        ]

    @property
    def api(self) -> ServerApi:
        """The API of its Prefect server."""
        return ServerApi(self.api_url, _API_SECONDS)

    def prepare(self, since: datetime) -> None:
        """Deploy, and wait until a worker has sent a heartbeat after `since`.

        Raises what `deploy` raises, and TimeoutError if there is no worker.
        """
        self.deploy()
        if not wait_until(
            lambda: any(seen >= since for seen in self._workers_seen()), _WORKER_SECONDS
        ):
            raise TimeoutError(f"no worker of the pool {self.pool}")

    def _can_start_worker(self) -> bool:
        """Whether server and pool are available. If so, ends the flow runs of an earlier worker."""
        api = replace(self.api, seconds=_POOL_SECONDS)
        try:
            api.get(f"work_pools/{self.pool}")
        except ApiFailure:
            return False
        try:
            end_left_runs(api, self.pool, "Its worker was killed, or the machine stopped.")
        except ApiFailure as error:
            logger.warning("flow runs of an earlier worker could not be ended: %s", error)
        return True

    def _cancel_runs(self) -> None:
        cancel_runs(self.api, self.pool, "`lfv down` cancelled it.")

    def _end_runs(self) -> None:
        end_runs(self.api, self.pool, "`lfv down` ended its worker.")

    def _workers_seen(self) -> list[datetime]:
        """Return the times of the last heartbeats of the pool's workers."""
        workers = self.api.post(f"work_pools/{self.pool}/workers/filter", {})
        times = [worker["last_heartbeat_time"] for worker in workers]
        return [datetime.fromisoformat(at).astimezone(UTC) for at in times if at]

    def deploy(self) -> None:
        """Create the work pool, the deployments and the limits of runs.

        Raises OSError while the server does not answer, CalledProcessError if Prefect refuses.
        """
        self.api.get("health")
        subprocess.run(
            [sys.executable, "-m", "lfv.cli", "deploy", "--prefect-file", str(self.prefect_file)],
            env=self.environment,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            check=True,
            timeout=_DEPLOY_SECONDS,
        )

    def schedule(self) -> Schedule | None:
        """Return the active schedule of the deployment `scheduled`, or None."""
        deployment = _scheduled_deployment(self.prefect_file)
        schedules = (deployment or {}).get("schedules") or ()
        times = tuple(_time(schedule) for schedule in schedules if schedule.get("active", True))
        if deployment is None or not times:
            return None
        given = deployment.get("parameters") or {}
        return Schedule(str(given.get("source")), str(given.get("project")), times)

    def state(self) -> PlantState | None:
        """Return the state that the supervisor recorded, or None."""
        try:
            found: dict[str, Any] = json.loads((self.folder / "state.json").read_text())
        except (OSError, ValueError):
            return None
        return PlantState(
            pid=int(found["pid"]),
            port=int(found.get("port", self.port)),
            ui_port=int(found.get("ui_port", self.ui_port)),
            ready=bool(found["ready"]),
            services=[ServiceState(**service) for service in found["services"]],
            running=self.is_running(),
        )

    def is_running(self) -> bool:
        """Whether a supervisor holds the plant's lock."""
        return is_running(self.folder)

    @contextmanager
    def lock(self) -> Iterator[bool]:
        """Hold the plant's lock in the block. Yield False if another process holds it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield True
        except BlockingIOError:
            yield False
        finally:
            os.close(descriptor)


def own_deployments(
    plant: Plant,
    *,
    source: str | None,
    project: str | None,
    minutes: float | None,
    is_example: bool = False,
) -> Plant:
    """Write the plant's own deployment file, and return the plant with this file.

    The deployment `scheduled` gets the given values. `lfv.launch` starts flow runs, with the Python
    of this process. The schedule of an example is not active until a source is given.
    """
    content: dict[str, Any] = yaml.safe_load(plant.prefect_file.read_text(encoding="utf-8"))
    set_command(content, shlex.join([sys.executable, *FLOW_RUN]))
    for deployment in content["deployments"]:
        if deployment["name"] != SCHEDULED:
            continue
        given = {"source": source, "project": project}
        deployment["parameters"] |= {name: text for name, text in given.items() if text}
        if source is not None:
            # A folder exists, so it is not misspelt: it may have no image yet.
            deployment["parameters"]["allow_empty"] = "://" not in source
        if minutes is not None:
            interval = {"interval": minutes * 60, "slug": "every-few-minutes", "active": True}
            known = (one for one in deployment["schedules"] if one.get("interval") == minutes * 60)
            deployment["schedules"] = [next(known, interval) | {"active": True}]
        for schedule in deployment["schedules"]:
            if "interval" in schedule:
                # Without an anchor, Prefect counts the interval from each new deployment.
                schedule.setdefault("anchor_date", datetime.now(UTC).isoformat())
            if source is not None or is_example:
                schedule["active"] = source is not None
    plant.folder.mkdir(parents=True, exist_ok=True)
    file = plant.folder / OWN_FILE
    file.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return replace(plant, prefect_file=file)


def _scheduled_deployment(file: Path) -> dict[str, Any] | None:
    content: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    named = (deployment for deployment in content["deployments"] if deployment["name"] == SCHEDULED)
    found: dict[str, Any] | None = next(named, None)
    return found


def _time(schedule: Mapping[str, Any]) -> str:
    if "interval" in schedule:
        minutes = schedule["interval"] / 60
        return "every minute" if minutes == 1 else f"every {minutes:g} minutes"
    zone = schedule.get("timezone", "UTC")
    return f"at {schedule.get('cron') or schedule.get('rrule')} ({zone})"


@dataclass(frozen=True)
class PlantState:
    """State of a plant: `running` if its supervisor runs, `ready` if flow runs can start."""

    pid: int
    port: int
    ui_port: int
    ready: bool
    services: list[ServiceState]
    running: bool


def systemd_unit(command: list[str], environment: Mapping[str, str]) -> str:
    """Return a systemd user unit that keeps a plant running."""
    variables = "\n".join(f'Environment="{name}={value}"' for name, value in environment.items())
    return f"""[Unit]
Description=Visual inspection: Prefect server, worker, pages and sweeper
After=network.target

[Service]
ExecStart={" ".join(command)}
{variables}
Restart=always
RestartSec=2
KillMode=mixed
TimeoutStopSec=150

[Install]
WantedBy=default.target
"""
