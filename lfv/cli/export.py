"""`lfv export`: write the results of a run to a file."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import IO, Annotated

import typer

from lfv.cli import output
from lfv.cli.common import find_run, settings_from, store_from
from lfv.cli.errors import WrongUsage
from lfv.cli.export_formats import Column, Format, write_rows
from lfv.cli.options import DatabaseUrlOption, RunArgument, examples, output_file
from lfv.cli.progress import Activity
from lfv.formats.words import count_of


def register(app: typer.Typer) -> None:
    app.command(
        "export",
        epilog=examples(
            "lfv export last --format csv -o results.csv",
            "lfv export 3f7c --format jsonl | jq 'select(.verdict == \"reject\").source_ref'",
        ),
    )(export)


def export(
    run: RunArgument,
    *,
    form: Annotated[
        Format, typer.Option("--format", "-f", help="File format.", case_sensitive=False)
    ] = "csv",
    file: Annotated[
        Path | None,
        output_file("File to write. Default: standard output."),
    ] = None,
    spreadsheet: Annotated[
        bool,
        typer.Option(
            "--spreadsheet",
            help="Write CSV for spreadsheets: with a byte order mark, and an apostrophe before "
            "text that would run as a formula.",
        ),
    ] = False,
    database_url: DatabaseUrlOption = None,
) -> None:
    """Write every inspection of a run, one row per manifest line.

    The columns are those of the view inspection_results. Lists and mappings, such as the reasons
    and attributes, are JSON text in CSV and Parquet. Times are UTC.
    """
    if file is None and form == "parquet" and sys.stdout.isatty():
        raise WrongUsage("Parquet cannot be written to standard output; name a file with -o FILE")
    settings = settings_from(database_url=database_url)
    with store_from(settings) as store, Activity("export", quiet=file is None) as activity:
        from lfv_store.views import RESULT_COLUMNS

        found = find_run(store, run)
        total = store.inspections.counts(found.run_id).inspected
        rows = activity.count_items(store.results.rows(found.run_id), total)
        columns = [Column(name, kind) for name, kind in RESULT_COLUMNS]
        write = partial(write_rows, rows, columns, form=form, spreadsheet=spreadsheet)
        if file is None:
            output.write_bytes(write)
            return
        count = _replace(file, write)
    output.show(f"{file}: {count_of(count, 'inspection')}")


def _replace(file: Path, write: Callable[[IO[bytes]], int]) -> int:
    """Write to a temporary file, which replaces `file` once it is complete."""
    unfinished = file.with_name(f".{file.name}.part")
    try:
        with unfinished.open("wb") as stream:
            count = write(stream)
        unfinished.replace(file)
    finally:
        unfinished.unlink(missing_ok=True)
    return count
