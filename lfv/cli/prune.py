"""`lfv prune`: make room by deleting old reports."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from lfv.cli import output
from lfv.cli.common import current_user, opened_store, settings_from
from lfv.cli.options import DatabaseUrlOption, JsonOption, examples


def register(app: typer.Typer) -> None:
    app.command("prune", epilog=examples("lfv prune", "lfv prune --older-than-days 30 --delete"))(
        prune
    )


def prune(
    *,
    older_than_days: Annotated[
        float, typer.Option("--older-than-days", min=0.0, help="Days since the run ended.")
    ] = 90.0,
    delete: Annotated[
        bool, typer.Option("--delete", help="Delete them; without this they are only listed.")
    ] = False,
    database_url: DatabaseUrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the reports of old runs, or delete them; `lfv report RUN` writes one again.

    Rows of the results database stay. What is deleted is on record in pruned.jsonl in LFV_HOME.
    """
    settings = settings_from(database_url=database_url)
    from lfv.run.prune import delete_reports, find_old_reports, shown_lines

    with opened_store(settings) as store:
        found = find_old_reports(settings, store, older_than_days)
    if delete:
        delete_reports(settings, found, f"lfv prune ({current_user()})")
    if as_json:
        output.show_json(asdict(found) | {"size_bytes": found.size_bytes, "deleted": delete})
        return
    for line in shown_lines(found.reports):
        output.show(line)
    for name in found.unknown:
        output.note(f"lfv: {settings.runs_folder / name} belongs to no run of this database")
    done = "deleted" if delete else "would be deleted with --delete"
    output.show(f"{len(found.reports)} reports, {found.size_bytes / 1e6:.1f} MB: {done}")
