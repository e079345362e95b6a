"""`lfv stop`: stop a model now, whoever started it."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lfv.cli import output
from lfv.cli.common import current_user, settings_from, sqlite_file
from lfv.cli.endpoint import api_endpoint
from lfv.cli.errors import CommandError
from lfv.cli.options import (
    DatabaseUrlOption,
    EndpointUrlOption,
    JsonOption,
    ModelVersionOption,
    ProjectOption,
    RegionOption,
    examples,
)

if TYPE_CHECKING:
    from lfv.settings import Settings
    from lfv_store import Hosting, Store


def register(app: typer.Typer) -> None:
    app.command(
        "stop",
        epilog=examples(
            "lfv stop --project cookies",
            "lfv stop --project cookies --model-version 3 --endpoint-url https://vision.example",
        ),
    )(stop)


def stop(
    *,
    project: ProjectOption,
    model_version: ModelVersionOption = "latest",
    force: Annotated[
        bool, typer.Option("--force", help="Stop it even while runs are using it.")
    ] = False,
    endpoint_url: EndpointUrlOption = None,
    region: RegionOption = None,
    database_url: DatabaseUrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Stop a model and wait until it is seen stopped.

    A model that runs of this database are using is left alone unless --force is given; such a run
    then starts it again, or can be resumed. The stop is recorded with the hosting it ends.
    """
    settings = settings_from(endpoint_url=endpoint_url, region=region, database_url=database_url)
    with api_endpoint(settings) as url:
        answer = _stop(settings, url, project, model_version, force=force)
    if as_json:
        output.show_json(answer)
    else:
        output.show(
            f"model {project} version {answer['model_version']} "
            + ("is stopped" if answer["was_hosted"] else "was not hosted")
        )


def _stop(
    settings: Settings, url: str, project: str, model_version: str, *, force: bool
) -> dict[str, Any]:
    from lfv.client.hosting import ensure_stopped
    from lfv.client.hosts import HostSpec, open_host
    from lfv.formats.status import ModelStatus

    spec = HostSpec("lookoutvision", project, model_version, url, settings.region)
    host = open_host(spec)
    try:
        version = host.spec.model_version
        before = host.describe()
        hosting = _open_hosting(settings, before.model_arn, force=force)
        if hosting is not None and hosting.live_leases and not force:
            raise CommandError(
                f"{hosting.live_leases} run(s) are using model {project} version {version}; "
                "wait for them (`lfv runs`), or stop it under them with --force"
            )
        outcome = ensure_stopped(
            host,
            f"stop-{hosting.hosting_id}" if hosting else f"stop-{project}-{version}",
            timeout=settings.stopping_deadline_seconds,
            progress=output.note,
        )
    finally:
        host.close()
    if hosting is not None:
        _record_stop(settings, hosting, outcome.stopped_at)
    return {
        "project": project,
        "model_version": version,
        "was_hosted": outcome.was_up
        or before.status.is_up
        or before.status is ModelStatus.STOPPING_HOSTING,
        "hosting_id": hosting.hosting_id if hosting else None,
        "stopped_at": outcome.stopped_at,
    }


def _open_hosting(settings: Settings, model_arn: str, *, force: bool) -> Hosting | None:
    """The hosting of this model that is on record as not over; None also without a database."""
    from lfv_store import StoreError

    file = sqlite_file(settings)
    if file is not None and not file.exists():
        return None
    try:
        with _store(settings) as store:
            for hosting in store.hostings.open():
                if store.models.get(hosting.model_id).key.model_arn == model_arn:
                    return hosting
    except StoreError as error:
        if not force:
            raise CommandError(
                f"whether runs are using the model cannot be seen ({error}); "
                "--force stops it all the same"
            ) from error
        output.note(f"lfv: warning: the stop will not be on record: {error}")
    return None


def _record_stop(settings: Settings, hosting: Hosting, at: datetime) -> None:
    """The model is down, whatever comes of this: the sweeper puts on record what is not."""
    from lfv_store import StoreError

    try:
        with _store(settings) as store:
            store.hostings.mark_stopped(hosting.hosting_id, at)
    except StoreError as error:
        output.note(f"lfv: warning: the stop is not on record yet: {error}")


def _store(settings: Settings) -> Store:
    from lfv_store import open_store

    return open_store(settings.store_url, actor=f"lfv stop ({current_user()})")
