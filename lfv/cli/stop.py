"""`lfv stop`: stop a model."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from lfv.cli import output
from lfv.cli.common import current_user, settings_from
from lfv.cli.options import (
    DatabaseUrlOption,
    EndpointUrlOption,
    HostOption,
    HostOptionOption,
    JsonOption,
    ModelVersionOption,
    ProjectOption,
    RegionOption,
    examples,
)


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
        bool, typer.Option("--force", help="Stop it even if runs are using it, and end them.")
    ] = False,
    host: HostOption = None,
    host_option: HostOptionOption = None,
    endpoint_url: EndpointUrlOption = None,
    region: RegionOption = None,
    database_url: DatabaseUrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Stop a model, whoever started it, and wait until it is stopped.

    Without --force, a model is not stopped while runs of this database use it. With it, these runs
    end and can be resumed. The stop is recorded in the database.
    """
    settings = settings_from(
        endpoint_url=endpoint_url,
        region=region,
        database_url=database_url,
        host=host,
        host_options=host_option,
    )
    from lfv.run.hosting.stop import stop_model

    stopped = stop_model(
        settings,
        project,
        model_version,
        actor=f"lfv stop ({current_user()})",
        force=force,
        progress=output.note,
    )
    if as_json:
        output.show_json(asdict(stopped))
    else:
        outcome = "is stopped" if stopped.was_hosted else "was not hosted"
        output.show(f"model {project} version {stopped.model_version} {outcome}")
