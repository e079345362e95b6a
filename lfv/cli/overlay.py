"""`lfv overlay`: draw what the model found on the images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lfv.cli import output
from lfv.cli.common import find_run, settings_from, store_from
from lfv.cli.errors import ExitStatus
from lfv.cli.options import (
    BucketOption,
    DatabaseUrlOption,
    JsonOption,
    RegionOption,
    VerdictName,
    examples,
    output_folder,
)
from lfv.cli.progress import Activity

if TYPE_CHECKING:
    from lfv_store import Store

_FOLDER = "overlays"


def register(app: typer.Typer) -> None:
    app.command(
        "overlay",
        epilog=examples(
            "lfv overlay last",
            "lfv overlay last --verdict accept -o pictures",
            "lfv overlay 3f7c --line 17",
            "lfv overlay 4711",
        ),
    )(overlay)


def overlay(
    target: Annotated[
        str,
        typer.Argument(
            metavar="RUN|INSPECTION",
            help="Id of the run, its first characters, 'last', or the number of an inspection.",
        ),
    ],
    *,
    verdict: Annotated[
        VerdictName | None,
        typer.Option(
            "--verdict", help="Draw the images with this verdict. Default: reject and review."
        ),
    ] = None,
    line: Annotated[
        list[int] | None,
        typer.Option("--line", min=1, help="Draw this manifest line; may be repeated."),
    ] = None,
    folder: Annotated[
        Path | None,
        output_folder("Folder to write to. Default: `overlays` in the folder of the run's report."),
    ] = None,
    region: RegionOption = None,
    bucket: BucketOption = None,
    database_url: DatabaseUrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Draw the anomalies that the model found on the images of a run, with a legend.

    The pictures are drawn from the stored answers and the images at their sources. An image that is
    gone or has changed is reported with the reason, and the exit status is 3.
    """
    from lfv.run.active import open_reader
    from lfv.run.overlay import draw_overlays, rows_to_draw

    settings = settings_from(database_url=database_url, region=region, buckets=bucket)
    with (
        store_from(settings) as store,
        open_reader(settings) as reader,
        Activity("overlay", quiet=as_json) as activity,
    ):
        inspection = _inspection(store, target)
        if inspection is not None:
            rows = [inspection]
        else:
            run_id = find_run(store, target).run_id
            rows = list(rows_to_draw(store, run_id, verdict=verdict, lines=line or ()))
        drawn = list(
            activity.count_items(
                draw_overlays(
                    store,
                    reader,
                    rows,
                    lambda run_id: folder or settings.run_folder(run_id) / _FOLDER,
                ),
                len(rows),
            )
        )
    if as_json:
        output.show_json([asdict(one) for one in drawn])
    else:
        for one in drawn:
            if one.file is not None:
                output.show(str(one.file))
            else:
                output.note(f"line {one.line_number}, {one.source_ref}: {one.error}")
        if not drawn:
            output.note("no image to draw; --verdict or --line selects others")
    if any(picture.file is None for picture in drawn):
        raise typer.Exit(ExitStatus.SOME_NOT_INSPECTED)


def _inspection(store: Store, target: str) -> Mapping[str, Any] | None:
    """Return the inspection of this number; None if `target` names a run.

    The start of a run's id may be a number, too.
    """
    from lfv_store import UnknownInspection

    if not target.isdecimal():
        return None
    try:
        return store.results.get(int(target))
    except UnknownInspection:
        if store.runs.find(target):
            return None
        raise
