"""`lfv watch`: start a deployment as soon as images come."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import typer

from lfv.cli import output
from lfv.cli.common import current_user, settings_from
from lfv.cli.errors import CommandError
from lfv.cli.options import BucketOption, examples
from lfv.formats.words import count_of

if TYPE_CHECKING:
    from uuid import UUID

    from lfv.run.arrivals import Arrivals

#: The pause before trying a source or API again that did not answer.
_PAUSE_SECONDS = 15.0


def register(app: typer.Typer) -> None:
    app.command(
        "watch",
        epilog=examples(
            "lfv watch /data/camera1 --deployment inspect-images/scheduled",
            "lfv watch s3://plant/line-3/ --deployment inspect-images/scheduled --every 30",
        ),
    )(watch)


def watch(
    source: Annotated[str, typer.Argument(help="Folder or s3://bucket/prefix/ to watch.")],
    *,
    deployment: Annotated[
        str, typer.Option("--deployment", "-d", help="Deployment to start: FLOW/NAME.")
    ] = "inspect-images/scheduled",
    every: Annotated[
        float, typer.Option("--every", min=0.2, help="Seconds between two looks.")
    ] = 2.0,
    settle_seconds: Annotated[
        float,
        typer.Option("--settle-seconds", min=0.0, help="How long a file must be unchanged."),
    ] = 5.0,
    project: Annotated[
        str | None,
        typer.Option(
            "--project",
            "-p",
            help="Project of the model, if not the deployment's own.",
            show_default=False,
        ),
    ] = None,
    bucket: BucketOption = None,
    once: Annotated[
        bool, typer.Option("--once", help="Look once, start the deployment if images came, exit.")
    ] = False,
) -> None:
    """Start a deployment whenever images arrive in a folder or prefix, instead of by a schedule.

    The runs inspect new images only. The results database knows which those are, so that
    interrupted or concurrent watches miss nothing and inspect nothing twice. This command starts at
    most one run at a time. Its first look counts all images; the run leaves out known ones.
    """
    from lfv.cli.plant.running import use_running_plant
    from lfv.cli.prefect_api import require_configured
    from lfv.client.sources import SourceReader
    from lfv.run.arrivals import Arrivals

    settings = settings_from(buckets=bucket)
    if "://" not in source:
        source = str(Path(source).absolute())
        if not Path(source).is_dir():
            raise CommandError(f"no folder found at {source}")
    elif not urlsplit(source).path.endswith("/"):
        raise CommandError(f"{source} is not a prefix: write {source}/")
    parameters: dict[str, Any] = {
        "source": source,
        "new_only": True,
        "settle_seconds": settle_seconds,
        "triggered_by": f"lfv watch ({current_user()})",
    }
    if project is not None:
        parameters["project"] = project
    use_running_plant(settings.home)
    require_configured()
    reader = SourceReader(settings.bucket_folders, settings.s3_endpoint_url, settings.region)
    with reader:
        watched = _Watch(Arrivals(source, reader, settle_seconds), deployment, parameters)
        if once:
            watched.look()
            return
        output.note(f"lfv: watching {source}; Ctrl-C ends it")
        while True:
            time.sleep(every if watched.look_safely() else _PAUSE_SECONDS)


class _Watch:
    """The arrivals at a source, and the flow run they last started."""

    def __init__(self, arrivals: Arrivals, deployment: str, parameters: dict[str, Any]) -> None:
        self._arrivals = arrivals
        self._deployment = deployment
        self._parameters = parameters
        self._flow_run: UUID | None = None

    def look_safely(self) -> bool:
        """Look; False if the source or Prefect's API does not answer, which is reported."""
        import httpx
        from prefect.exceptions import PrefectHTTPStatusError

        from lfv.formats.errors import SourceError

        try:
            self.look()
        except (SourceError, httpx.HTTPError, PrefectHTTPStatusError) as error:
            output.note(f"lfv: {error}; looking again in {_PAUSE_SECONDS:g} s")
            return False
        return True

    def look(self) -> None:
        """Start the deployment if images have come and its last flow run is over."""
        came = self._arrivals.look()
        if not came or self._is_running():
            return
        self._flow_run = self._start()
        self._arrivals.handled()
        output.show(f"{count_of(came, 'image')} to look at: started flow run {self._flow_run}")

    def _start(self) -> UUID:
        from prefect.deployments import run_deployment
        from prefect.exceptions import ObjectNotFound

        try:
            flow_run: Any = run_deployment(self._deployment, parameters=self._parameters, timeout=0)
        except ObjectNotFound:
            raise CommandError(
                f"Prefect has no deployment {self._deployment}; `prefect deployment ls` lists them"
            ) from None
        found: UUID = flow_run.id
        return found

    def _is_running(self) -> bool:
        from prefect.client.orchestration import get_client

        if self._flow_run is None:
            return False
        with get_client(sync_client=True) as client:
            state = client.read_flow_run(self._flow_run).state
        return state is None or not state.is_final()
