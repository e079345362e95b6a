"""`lfv report`: rewrite the report of a run from its current record."""

from __future__ import annotations

from dataclasses import asdict

import typer

from lfv.cli import output
from lfv.cli.common import find_run, settings_from, store_from
from lfv.cli.errors import CommandError
from lfv.cli.options import (
    BucketOption,
    DatabaseUrlOption,
    JsonOption,
    RegionOption,
    RunArgument,
    examples,
)
from lfv.cli.progress import Activity


def register(app: typer.Typer) -> None:
    app.command("report", epilog=examples("lfv report last", "lfv report 3f7c --json"))(report)


def report(
    run: RunArgument,
    *,
    region: RegionOption = None,
    bucket: BucketOption = None,
    database_url: DatabaseUrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Rewrite the HTML report of a run, and print its path.

    The report shows the current record: the verdicts of the last decision, and the pictures of the
    images that still exist. All pictures are embedded, so that it can be mailed.
    """
    from lfv.run.active import open_reader
    from lfv.run.report import report_run

    settings = settings_from(database_url=database_url, region=region, buckets=bucket)
    with (
        store_from(settings) as store,
        open_reader(settings) as reader,
        Activity("report", quiet=as_json) as activity,
    ):
        activity.show("writing")
        run_id = find_run(store, run).run_id
        summary = report_run(run_id, store, reader, settings, hold_pictures=True).summary
    if summary.report is None:
        raise CommandError(
            f"the report cannot be written to {settings.run_folder(summary.run_id)}; "
            "make that folder writable"
        )
    if as_json:
        output.show_json(asdict(summary))
    else:
        output.show(str(summary.report))
