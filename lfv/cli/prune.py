"""`lfv prune`: make room by deleting old reports and pictures."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from lfv.cli import output
from lfv.cli.common import current_user, opened_store, settings_from
from lfv.cli.options import DatabaseUrlOption, JsonOption, examples
from lfv.formats.words import count_of


def register(app: typer.Typer) -> None:
    app.command("prune", epilog=examples("lfv prune", "lfv prune --older-than-days 30 --delete"))(
        prune
    )


def prune(
    *,
    older_than_days: Annotated[
        float,
        typer.Option(
            "--older-than-days", min=0.0, help="Days since a run ended or a picture was read."
        ),
    ] = 90.0,
    delete: Annotated[
        bool, typer.Option("--delete", help="Delete them; without this they are only listed.")
    ] = False,
    database_url: DatabaseUrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the reports of old runs and unused pictures, or delete them.

    Both can be made again: `lfv report RUN` writes a report, pictures are made when they are
    needed. Rows of the results database stay. The audit log records who deleted what, when, and
    how much.
    """
    settings = settings_from(database_url=database_url)
    from lfv.run.prune import delete_old, find_old, shown_lines

    with opened_store(settings) as store:
        found = find_old(settings, store, older_than_days)
        if delete:
            delete_old(settings, store, found, f"lfv prune ({current_user()})")
    if as_json:
        output.show_json(asdict(found) | {"size_bytes": found.size_bytes, "deleted": delete})
        return
    for line in shown_lines(found):
        output.show(line)
    for name in found.unknown:
        output.note(f"lfv: {settings.runs_folder / name} belongs to no run of this database")
    done = "deleted" if delete else "would be deleted with --delete"
    reports = count_of(len(found.reports), "report")
    pictures = count_of(found.pictures.number, "picture")
    output.show(f"{reports}, {pictures}, {found.size_bytes / 1e6:.1f} MB: {done}")
