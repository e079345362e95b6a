"""`lfv deploy`: put the deployments on the configured Prefect server."""

from __future__ import annotations

import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lfv.cli import output
from lfv.cli.errors import CommandError
from lfv.cli.options import PrefectFileOption, examples
from lfv.formats.words import count_of

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

#: Arguments for Python that start a flow run's process. Without them, Prefect's worker starts three
#: processes, one by one.
FLOW_RUN = ("-m", "lfv.launch", "flows.engine")
_FAST_START = " ".join(("python", *FLOW_RUN))
#: How long a server that was just started may take to answer.
_SERVER_STARTS_SECONDS = 60.0
_DEPLOY_SECONDS = 300.0


def register(app: typer.Typer) -> None:
    app.command(
        "deploy",
        epilog=examples("lfv deploy", "lfv deploy --prefect-file plant.yaml --runs-per-model 1"),
    )(deploy)


def installed_file() -> Path:
    """Return the path of this installation's deployments/prefect.yaml."""
    return Path(str(files("deployments") / "prefect.yaml"))


def deploy(
    *,
    prefect_file: PrefectFileOption = None,
    runs_per_model: Annotated[
        int | None,
        typer.Option(
            "--runs-per-model",
            min=1,
            help="Maximum number of concurrent runs per project; default: 2, or the server's.",
        ),
    ] = None,
    fast_start: Annotated[
        bool,
        typer.Option(
            "--fast-start",
            help="Start flow runs by `python -m lfv.launch flows.engine`, in one process instead "
            "of three. On the workers, `python` must be that of this installation, as in the "
            "container image.",
        ),
    ] = False,
) -> None:
    """Create the work pool, all deployments and the limits of runs on the Prefect server.

    The server is that of PREFECT_API_URL or of the active Prefect profile. Running this again
    updates everything. The flows run on the machines of the pool's workers.
    """
    import yaml
    from prefect.client.orchestration import get_client

    from flows.run_slots import set_limit
    from lfv.cli.prefect_api import require_configured

    url = require_configured(patience_seconds=_SERVER_STARTS_SECONDS)
    file = (prefect_file or installed_file()).absolute()
    content: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    if fast_start:
        set_command(content, _FAST_START)
    with get_client(sync_client=True) as client:
        for pool in sorted({one["work_pool"]["name"] for one in content["deployments"]}):
            _create_pool(client, pool)
        if fast_start:
            with TemporaryDirectory() as folder:
                changed = Path(folder, file.name)
                changed.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
                _deploy(changed)
        else:
            _deploy(file)
        projects = {(one.get("parameters") or {}).get("project") for one in content["deployments"]}
        limits = {
            name: set_limit(client, name, runs_per_model) for name in sorted(filter(None, projects))
        }
    output.show(f"{len(content['deployments'])} deployments are on {url.removesuffix('/api')}")
    for project, runs in limits.items():
        output.show(f"{project}: {count_of(runs, 'run')} at a time, more wait")


def set_command(content: dict[str, Any], command: str) -> None:
    """Set the command that starts flow runs, except for deployments that already have one."""
    for deployment in content["deployments"]:
        variables = deployment["work_pool"].setdefault("job_variables", {})
        if variables.get("command", "").endswith(FLOW_RUN[-1]) or "command" not in variables:
            variables["command"] = command


def _create_pool(client: SyncPrefectClient, name: str) -> None:
    """Create a work pool of local processes, unless one of that name exists."""
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectNotFound
    from prefect.workers.process import ProcessWorker

    try:
        client.read_work_pool(name)
    except ObjectNotFound:
        template = ProcessWorker.get_default_base_job_template()
        client.create_work_pool(
            WorkPoolCreate(name=name, type=ProcessWorker.type, base_job_template=template)
        )


def _deploy(file: Path) -> None:
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    done = subprocess.run(
        [*command, "--prefect-file", str(file)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=_DEPLOY_SECONDS,
    )
    if done.returncode != 0:
        last = (done.stdout.strip().splitlines() or ["no message"])[-1].strip()
        raise CommandError(f"prefect deploy failed: {last}")
