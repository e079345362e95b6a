"""`lfv watch`: start a deployment as soon as images arrive."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import typer

from lfv.cli import output
from lfv.cli.common import current_user, settings_from
from lfv.cli.errors import CommandError
from lfv.cli.options import BucketOption, examples
from lfv.formats.words import count_of
from lfv.run.defaults import DEFAULT_SETTLE_SECONDS

if TYPE_CHECKING:
    from uuid import UUID

    from lfv.run.arrivals import Arrivals
    from lfv.settings import Settings
    from lfv_store import KnownObjects, ObjectStamp

#: The pause before trying a source or API again that did not answer.
_PAUSE_SECONDS = 15.0
#: Parameters that decide which stored objects a run compares images with.
_SAME_OBJECTS = ("source", "project", "host", "host_block", "store_block")
#: How many of the deployment's flow runs are searched for one with the same parameters.
_FLOW_RUNS = 50


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
        float, typer.Option("--every", min=0.2, help="Seconds between two polls.")
    ] = 2.0,
    settle_seconds: Annotated[
        float,
        typer.Option("--settle-seconds", min=0.0, help="How long a file must be unchanged."),
    ] = DEFAULT_SETTLE_SECONDS,
    project: Annotated[
        str | None,
        typer.Option("--project", "-p", help="Project of the model, if not the deployment's own."),
    ] = None,
    bucket: BucketOption = None,
    once: Annotated[
        bool,
        typer.Option("--once", help="Poll once, start the deployment if images arrived, exit."),
    ] = False,
) -> None:
    """Start a deployment whenever images arrive in a folder or prefix, instead of by a schedule.

    The runs inspect new images only. The results database records which those are, so that
    interrupted or concurrent watches miss nothing and inspect nothing twice. This command starts at
    most one run at a time, and none for known images. It recognises those only after the deployment
    has completed a run for this source, and only if it uses the same results database as the
    deployment's worker. Otherwise its first poll counts all images as new, and the run leaves out
    known ones.
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
        watched = _Watch(Arrivals(source, reader, settle_seconds), settings, deployment, parameters)
        if once:
            watched.look()
            return
        output.note(f"lfv: watching {source}; Ctrl-C ends it")
        while True:
            time.sleep(every if watched.look_safely() else _PAUSE_SECONDS)


class _Watch:
    """The arrivals at a source, and the flow run they last started."""

    def __init__(
        self,
        arrivals: Arrivals,
        settings: Settings,
        deployment: str,
        parameters: dict[str, Any],
    ) -> None:
        self._arrivals = arrivals
        self._settings = settings
        self._deployment = deployment
        self._parameters = parameters
        self._flow_run: UUID | None = None

    def look_safely(self) -> bool:
        """Poll; return False if the source or Prefect's API does not answer, which is reported."""
        import httpx
        from prefect.exceptions import PrefectHTTPStatusError

        from lfv.formats.errors import SourceError

        try:
            self.look()
        except (SourceError, httpx.HTTPError, PrefectHTTPStatusError) as error:
            output.note(f"lfv: {error}; retrying in {_PAUSE_SECONDS:g} s")
            return False
        return True

    def look(self) -> None:
        """Start the deployment if images have arrived and its last flow run is over."""
        came = self._arrivals.look()
        if not came or self._is_running():
            return
        known = self._known_objects(came)
        self._arrivals.mark_handled(known.recorded)
        new = came.keys() - known.recorded - known.in_progress
        if not new:
            return
        self._flow_run = self._start()
        self._arrivals.mark_handled(new)
        images = count_of(len(new), "image")
        output.show(f"{images} to inspect: started flow run {self._flow_run}")

    def _known_objects(self, images: Mapping[str, ObjectStamp]) -> KnownObjects:
        """Return which of these images are known, as far as this machine knows."""
        from lfv.run.new_images import RETRIES
        from lfv_store import KnownObjects, StoreError, open_store

        nothing = KnownObjects(frozenset(), frozenset())
        flow_run_id = self._last_flow_run()
        file = self._settings.store_file
        if flow_run_id is None or (file is not None and not file.exists()):
            return nothing
        try:
            with open_store(self._settings.store_url, migrate=False) as store:
                # Without this run, the worker stores its results elsewhere.
                run = store.runs.find_by_flow_run(flow_run_id)
                if run is None:
                    return nothing
                return store.watermarks.known(run.run_id, images, RETRIES)
        except StoreError as error:
            output.note(f"lfv: all images count as new: {error}")
            return nothing

    def _last_flow_run(self) -> str | None:
        """Return the id of the deployment's last completed flow run for the same objects."""
        from prefect.client.orchestration import get_client
        from prefect.client.schemas.filters import DeploymentFilter, FlowRunFilter
        from prefect.client.schemas.sorting import FlowRunSort

        with get_client(sync_client=True) as client, self._known_deployment():
            deployment = client.read_deployment_by_name(self._deployment)
            of_deployment = {"id": {"any_": [deployment.id]}}
            completed = {"state": {"type": {"any_": ["COMPLETED"]}}}
            flow_runs = client.read_flow_runs(
                deployment_filter=DeploymentFilter.model_validate(of_deployment),
                flow_run_filter=FlowRunFilter.model_validate(completed),
                sort=FlowRunSort.END_TIME_DESC,
                limit=_FLOW_RUNS,
            )
        wanted = {**deployment.parameters, **self._parameters}
        for flow_run in flow_runs:
            if all(flow_run.parameters.get(name) == wanted.get(name) for name in _SAME_OBJECTS):
                return str(flow_run.id)
        return None

    def _start(self) -> UUID:
        from prefect.deployments import run_deployment

        with self._known_deployment():
            flow_run: Any = run_deployment(self._deployment, parameters=self._parameters, timeout=0)
        found: UUID = flow_run.id
        return found

    @contextmanager
    def _known_deployment(self) -> Iterator[None]:
        from prefect.exceptions import ObjectNotFound

        try:
            yield
        except ObjectNotFound:
            raise CommandError(
                f"Prefect has no deployment {self._deployment}; `prefect deployment ls` lists them"
            ) from None

    def _is_running(self) -> bool:
        from prefect.client.orchestration import get_client

        if self._flow_run is None:
            return False
        with get_client(sync_client=True) as client:
            state = client.read_flow_run(self._flow_run).state
        return state is None or not state.is_final()
