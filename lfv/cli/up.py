"""`lfv up`, `lfv down`, `lfv status`: a plant on one machine, without containers."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lfv.cli import output
from lfv.cli.common import check_local_project, local_time, settings_from
from lfv.cli.deploy import installed_file
from lfv.cli.errors import CommandError, ExitStatus, WrongUsage
from lfv.cli.options import JsonOption, PrefectFileOption, examples

if TYPE_CHECKING:
    from lfv.cli.plant.services import Plant

_UP_SECONDS = 300.0
_DOWN_SECONDS = 150.0
_UNIT = "lfv.service"
_PORT, _UI_PORT = 4200, 4190
_PORTS_TRIED = 100
_NOTHING_SCHEDULED = "nothing yet: lfv up --source FOLDER --project PROJECT --every MINUTES"
_STARTING = "still starting; `lfv up` completes it, `lfv down` ends it"

PortOption = Annotated[
    int, typer.Option("--port", min=1, max=65535, help="Port of the Prefect server.")
]


def register(app: typer.Typer) -> None:
    app.command(
        "up",
        epilog=examples(
            "lfv up --source incoming/ --project parts --every 5",
            "lfv up --port 4300",
            "lfv up --systemd",
        ),
    )(up)
    app.command("down", epilog=examples("lfv down"))(down)
    app.command("status", epilog=examples("lfv status", "lfv status --json"))(status)


def up(
    *,
    source: Annotated[
        str | None,
        typer.Option(
            "--source", help="Folder or s3://bucket/prefix/ that the scheduled runs inspect."
        ),
    ] = None,
    project: Annotated[
        str | None, typer.Option("--project", "-p", help="Project of the scheduled runs' model.")
    ] = None,
    every: Annotated[
        float | None,
        typer.Option(
            "--every",
            min=0.1,
            metavar="MINUTES",
            help="Minutes between two scheduled runs; default: the schedule in the file.",
        ),
    ] = None,
    port: PortOption = _PORT,
    ui_port: Annotated[
        int,
        typer.Option("--ui-port", min=1, max=65535, help="Port of the pages with results."),
    ] = _UI_PORT,
    prefect_file: PrefectFileOption = None,
    systemd: Annotated[
        bool,
        typer.Option("--systemd", help="Install and start a user unit, which survives a reboot."),
    ] = False,
    foreground: Annotated[
        bool,
        typer.Option(
            "--foreground", help="Stay in the foreground, and end everything on Ctrl-C or SIGTERM."
        ),
    ] = False,
    kept: Annotated[
        bool, typer.Option("--kept", hidden=True, help="A keeper started this process.")
    ] = False,
) -> None:
    """Start a small plant on this machine, and keep it running.

    A Prefect server with its database, the work pool and a worker, the deployments, the model
    service, the results database and its pages, and a sweeper that does not need Prefect. All files
    are in LFV_HOME, and all ports on 127.0.0.1; processes that die are restarted. --source,
    --project and --every are remembered. Running it again updates the deployments with the given
    options, and prints the addresses.
    """
    plant = _plant(port, ui_port, prefect_file)
    is_new = plant.prefect_file == installed_file()
    if is_new and (source is None) != (project is None):
        raise WrongUsage("give both --source and --project, or neither")
    if project is not None and not foreground:
        check_local_project(plant.settings, project)
    is_given = source is not None or project is not None or every is not None
    if is_given or prefect_file is None:
        from lfv.cli.plant.services import own_deployments

        plant = own_deployments(
            plant, source=_absolute(source), project=project, minutes=every, is_example=is_new
        )
    if foreground:
        _supervise(plant, kept=kept)
        return
    state = plant.state()
    is_up = state is not None and state.running
    if state is not None and is_up:
        for option, wanted, default, used in (
            ("--port", port, _PORT, state.port),
            ("--ui-port", ui_port, _UI_PORT, state.ui_port),
        ):
            if wanted not in {default, used}:
                output.note(
                    f"lfv: already running on port {used}; {option} takes effect after `lfv down`"
                )
        plant = replace(plant, port=state.port, ui_port=state.ui_port)
    else:
        _require_free(plant.port, "--port")
        _require_free(plant.ui_port, "--ui-port")
        (plant.folder / "state.json").unlink(missing_ok=True)
        if systemd:
            _install(plant)
        else:
            from lfv.cli.plant.supervisor import keep_in_background

            log = plant.folder / "supervisor.log"
            keep_in_background([*_command(plant), "--kept"], plant.environment, log)
    _wait_ready(plant)
    if is_up and (is_given or prefect_file is not None):
        output.note("lfv: updating the deployments")
        plant.deploy()
    output.show_facts(
        {
            "Prefect": plant.page_url,
            "results": plant.ui_url,
            "for your shell": f"export PREFECT_API_URL={plant.api_url}",
            "database": plant.settings.shown_store_url,
            "logs": plant.folder,
            "scheduled": plant.schedule() or _NOTHING_SCHEDULED,
            "at once": "prefect deployment run inspect-images/scheduled --watch",
        }
    )


def down() -> None:
    """End what `lfv up` started: runs in progress are cancelled, and their models stopped."""
    plant = _plant(0, 0, None)
    unit = _unit_path()
    if unit.exists() and str(plant.settings.home) in unit.read_text():
        _systemctl("disable", "--now", _UNIT)
        unit.unlink()
        _systemctl("daemon-reload")
    state = plant.state()
    if state is None or not state.running:
        output.show("nothing is running")
        return
    os.kill(state.pid, signal.SIGTERM)
    _wait(lambda: not plant.is_running(), _DOWN_SECONDS, f"process {state.pid} does not end")
    output.show("everything is down")


def status(*, as_json: JsonOption = False) -> None:
    """Show which processes of the plant run, and their logs. Exit status 1 if it is not up."""
    from lfv.cli.plant.status import plant_status

    found = plant_status(_plant(0, 0, None))
    if as_json:
        output.show_json(asdict(found))
    elif not found.running:
        output.show("nothing is running; `lfv up` starts it")
    else:
        rows = [(one.name, one.pid or "waiting", one.starts, one.log) for one in found.services]
        output.show_table(("process", "pid", "starts", "log"), rows, right=("pid", "starts"))
        output.show_facts(
            {
                "Prefect": found.prefect_url,
                "results": found.results_url,
                "for your shell": f"export PREFECT_API_URL={found.prefect_api_url}",
                "scheduled": found.scheduled or _NOTHING_SCHEDULED,
                "last run": found.last_run,
                "next run": found.next_run and local_time(found.next_run),
            }
        )
        if found.paused:
            output.note("lfv: the schedule is paused; Prefect's page of the deployment resumes it")
        for line in found.waiting:
            output.note(f"lfv: {line}")
        if not found.ready:
            output.note(f"lfv: {_STARTING}")
    if not found.running:
        raise typer.Exit(ExitStatus.FAILED)


def _plant(port: int, ui_port: int, prefect_file: Path | None) -> Plant:
    from lfv.cli.plant.services import OWN_FILE, Plant

    settings = settings_from()
    plant = Plant(settings, port, ui_port, (prefect_file or installed_file()).absolute())
    own = plant.folder / OWN_FILE
    return replace(plant, prefect_file=own) if prefect_file is None and own.exists() else plant


def _absolute(source: str | None) -> str | None:
    """Return the source as an absolute path or URL. Raises CommandError if it does not exist."""
    if source is None or "://" in source:
        return source
    path = Path(source).absolute()
    if not path.exists():
        raise CommandError(f"{path} does not exist; create the folder, or give another --source")
    return str(path)


def _command(plant: Plant) -> list[str]:
    command = [sys.executable, "-m", "lfv.cli", "up", "--foreground", "--port", str(plant.port)]
    return [*command, "--ui-port", str(plant.ui_port), "--prefect-file", str(plant.prefect_file)]


def _supervise(plant: Plant, *, kept: bool) -> None:
    """Run the supervisor. If its keeper was killed, start a new one at the end."""
    from lfv.cli.plant.supervisor import Supervisor, keep_in_background
    from lfv_store import open_store

    parent = os.getppid()
    with plant.lock() as is_first:
        if not is_first:
            raise CommandError(f"`lfv up` already runs in {plant.folder}; `lfv down` ends it")
        open_store(plant.settings.store_url).close()  # the pages need an existing database
        places = {"port": plant.port, "ui_port": plant.ui_port}
        supervisor = Supervisor(plant.services(), plant.folder, places)
        since = datetime.now(UTC)
        supervisor.run(lambda: plant.prepare(since), lambda: kept and os.getppid() != parent)
    if kept and os.getppid() != parent:
        log = plant.folder / "supervisor.log"
        keep_in_background([*_command(plant), "--kept"], plant.environment, log)


def _wait_ready(plant: Plant) -> None:
    """Wait until the deployments exist, and report started processes on stderr."""
    started: set[str] = set()

    def is_ready() -> bool:
        state = plant.state()
        if state is None or not state.running:
            return False
        for service in state.services:
            if service.pid is not None and service.name not in started and not state.ready:
                output.note(f"lfv: {service.name} started")
                started.add(service.name)
        return state.ready

    try:
        if not is_ready():
            output.note(f"lfv: starting, which takes up to two minutes; logs are in {plant.folder}")
        _wait(is_ready, _UP_SECONDS, f"see the logs in {plant.folder}")
    except KeyboardInterrupt:
        output.note(f"lfv: {_STARTING}")
        raise


def _wait(condition: Callable[[], bool], seconds: float, otherwise: str) -> None:
    from lfv.cli.plant.waiting import wait_until

    if not wait_until(condition, seconds):
        raise CommandError(f"not within {seconds:g} s: {otherwise}")


def _require_free(port: int, option: str) -> None:
    if _is_free(port):
        return
    free = next((one for one in range(port + 1, port + _PORTS_TRIED) if _is_free(one)), None)
    raise CommandError(f"port {port} is in use; {option} {free or 'PORT'} chooses another")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError):
            return False
    return True


def _unit_path() -> Path:
    return Path("~/.config/systemd/user").expanduser() / _UNIT


def _install(plant: Plant) -> None:
    """Write the user unit, and start it now and at every boot."""
    from lfv.cli.plant.services import systemd_unit

    if shutil.which("systemctl") is None:
        raise CommandError("there is no systemctl on this machine; leave out --systemd")
    names = ("PREFECT_", "LFV_", "DO_NOT_TRACK", "PATH")
    environment = {
        name: value for name, value in plant.environment.items() if name.startswith(names)
    }
    unit = _unit_path()
    unit.parent.mkdir(parents=True, exist_ok=True)
    unit.write_text(systemd_unit(_command(plant), environment))
    unit.chmod(0o600)  # the database's URL may hold a password
    _systemctl("daemon-reload")
    _systemctl("enable", "--now", _UNIT)
    output.note("lfv: `loginctl enable-linger` starts it at boot, before anybody logs in")


def _systemctl(*arguments: str) -> None:
    command = [shutil.which("systemctl") or "systemctl", "--user", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise CommandError(f"systemctl --user {arguments[0]} failed: {done.stderr.strip()}")
