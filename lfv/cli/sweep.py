"""`lfv sweep`: stop models that no run uses; for cron, a timer, or by hand."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from lfv.cli import output
from lfv.cli.common import current_user, settings_from
from lfv.cli.errors import ExitStatus
from lfv.cli.options import (
    DatabaseUrlOption,
    EndpointUrlOption,
    HostOption,
    JsonOption,
    RegionOption,
    examples,
)


def register(app: typer.Typer) -> None:
    app.command(
        "sweep",
        epilog=examples("lfv sweep", "lfv sweep --stop-unknown --json", "lfv sweep --account"),
    )(sweep)


def sweep(
    *,
    stop_unknown: Annotated[
        bool,
        typer.Option("--stop-unknown", help="Also stop hosted models that no run started."),
    ] = False,
    account: Annotated[
        bool,
        typer.Option(
            "--account",
            help="Also check the SageMaker account for endpoints with the tags of lfv; needs no "
            "runs in the database.",
        ),
    ] = False,
    host: HostOption = None,
    endpoint_url: EndpointUrlOption = None,
    region: RegionOption = None,
    database_url: DatabaseUrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Stop models whose runs have ended, and complete stops that failed.

    Needs the results database and the endpoints, not Prefect. Hosted models that no run started
    are listed, and stopped only with --stop-unknown: runs with another database may be using them.
    Exit status 1 if a model that should be stopped may still be hosted.
    """
    settings = settings_from(
        endpoint_url=endpoint_url, region=region, database_url=database_url, host=host
    )
    from lfv.run.hosting.sweep import describe_left_up, describe_swept
    from lfv.run.hosting.sweep import sweep as sweep_once
    from lfv_store import open_store

    with open_store(settings.store_url, actor=f"lfv sweep ({current_user()})") as store:
        report = sweep_once(store, settings, stop_unknown=stop_unknown, account=account)
    if as_json:
        output.show_json(asdict(report) | {"clean": report.clean})
    else:
        for hosting in report.swept:
            if hosting.stopped:
                output.show(describe_swept(hosting))
        for model in report.unknown:
            if model.stopped:
                output.show(f"{model.project} version {model.model_version}: stopped")
        for line in describe_left_up(report):
            output.note(line)
        if report.clean:
            output.show("no unused model is hosted")
    if not report.clean:
        raise typer.Exit(ExitStatus.FAILED)
