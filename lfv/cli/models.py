"""`lfv models`: list model versions."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from lfv.cli import output
from lfv.cli.common import local_time, settings_from
from lfv.cli.options import EndpointUrlOption, HostOption, JsonOption, RegionOption, examples


def register(app: typer.Typer) -> None:
    app.command(
        "models",
        epilog=examples("lfv models", "lfv models --project cookies --json"),
    )(models)


def models(
    *,
    project: Annotated[
        str | None,
        typer.Option("--project", "-p", help="Only this project.", show_default=False),
    ] = None,
    host: HostOption = None,
    endpoint_url: EndpointUrlOption = None,
    region: RegionOption = None,
    as_json: JsonOption = False,
) -> None:
    """List model versions with their status and their figures.

    F1, precision and recall were measured in training. A model that is HOSTED or STARTING_HOSTING
    is billed where hosting costs money; `lfv stop` stops it.
    """
    from lfv.client.catalog import model_entries
    from lfv.run.embedded_service import api_endpoint

    settings = settings_from(endpoint_url=endpoint_url, region=region, host=host)
    with api_endpoint(settings) as url:
        entries = model_entries(url, settings.region, project=project, host=settings.host)
    if as_json:
        output.show_json([asdict(entry) for entry in entries])
        return
    columns = ("project", "version", "status", "F1", "precision", "recall", "created", "message")
    rows = [
        (
            entry.project,
            entry.version,
            entry.status,
            _measure(entry.f1),
            _measure(entry.precision),
            _measure(entry.recall),
            local_time(entry.created_at),
            entry.message,
        )
        for entry in entries
    ]
    output.show_table(columns, rows, right=("F1", "precision", "recall"))
    if not entries:
        output.note("no models yet; `lfv train` trains one")


def _measure(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
