"""`lfv estimate`: time and cost of an inspection, before anything is started."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from lfv.cli import output
from lfv.cli.common import check_local_project, check_source, settings_from, store_from
from lfv.cli.options import (
    BucketOption,
    ConvertOption,
    DatabaseUrlOption,
    EndpointUrlOption,
    HostOption,
    JsonOption,
    ModelVersionOption,
    ProjectOption,
    RegionOption,
    examples,
)
from lfv.formats.words import count_of
from lfv.launch import loading

if TYPE_CHECKING:
    from lfv.run.estimate import Estimate

_HOUR, _MINUTE = 3600.0, 60.0
_MEGABYTE = 1e6


def register(app: typer.Typer) -> None:
    app.command(
        "estimate",
        epilog=examples(
            "lfv estimate images/ --project cookies",
            "lfv estimate test.manifest --project cookies --units 4",
            "lfv estimate s3://lots/today/ --project cookies --images-per-second 3",
        ),
    )(estimate)


def estimate(
    source: Annotated[
        str,
        typer.Argument(help="Manifest (JSON Lines, CSV, text), folder, or s3://bucket/prefix/."),
    ],
    *,
    project: ProjectOption,
    model_version: ModelVersionOption = "latest",
    units: Annotated[
        int | None, typer.Option("--units", min=1, help="Inference units. Default: 1, 2, 4 and 8.")
    ] = None,
    images_per_second: Annotated[
        float | None,
        typer.Option(
            "--images-per-second",
            min=0.001,
            help="Images per second of one inference unit, instead of the pace of earlier runs.",
        ),
    ] = None,
    again: Annotated[
        bool,
        typer.Option("--again", help="Also count images that this model has already judged."),
    ] = False,
    host: HostOption = None,
    endpoint_url: EndpointUrlOption = None,
    database_url: DatabaseUrlOption = None,
    region: RegionOption = None,
    bucket: BucketOption = None,
    convert: ConvertOption = False,
    as_json: JsonOption = False,
) -> None:
    """Estimate how long an inspection takes and what it costs. Starts nothing.

    Counts the lines of SOURCE, reads 200 of its images, and takes the model's pace from its
    earlier runs in the results database.
    """
    settings = settings_from(
        endpoint_url=endpoint_url,
        database_url=database_url,
        region=region,
        buckets=bucket,
        convert=convert or None,
        host=host,
    )
    check_source(source)
    check_local_project(settings, project)
    with loading():
        from lfv.run.active import open_reader
        from lfv.run.estimate import estimate as estimate_run
    with ExitStack() as stack:
        file = settings.store_file
        store = None
        if file is None or file.exists():
            store = stack.enter_context(store_from(settings))
        found = estimate_run(
            store,
            stack.enter_context(open_reader(settings)),
            settings,
            source=source,
            project=project,
            model_version=model_version,
            units=units,
            images_per_second=images_per_second,
            again=again,
        )
    if as_json:
        output.show_json(asdict(found) | {"images": found.source.images})
    else:
        _show(found, project)


def _show(found: Estimate, project: str) -> None:
    source = found.source
    listed = f"{source.lines:,}" + (
        f", {source.bad_lines:,} unreadable" if source.bad_lines else ""
    )
    sample = f"{count_of(source.sampled, 'image')}, {source.average_bytes / _MEGABYTE:.2f} MB each"
    if source.unusable:
        sample += f", {source.unusable:,} cannot be inspected"
    if source.known:
        sample += f", {source.known:,} repeated or already answered"
    price = f"{found.price_per_unit_hour:.2f} USD" if found.price_per_unit_hour else "no charge"
    output.show_facts(
        {
            "model": project + (f", version {found.model_version}" if found.model_version else ""),
            "lines": listed,
            "sample": sample,
            "images to inspect": f"{source.images:,}",
            "pace of a unit": found.pace
            and f"{found.pace.images_per_second:,.1f} images/s ({found.pace.basis})",
            "price of a unit-hour": price,
            "checking the images": _duration(found.checking_seconds),
            "starting the model": None
            if found.starting_seconds is None
            else _duration(found.starting_seconds),
        }
    )
    if found.pace is None:
        output.note(
            "lfv: no earlier run shows this model's pace: inspect some images first, or give "
            "--images-per-second"
        )
        return
    output.show(
        output.table(
            ["units", "detection", "whole run", "cost in USD", "machines"],
            [
                [
                    option.units,
                    _duration(option.detection_seconds),
                    _duration(option.total_seconds),
                    f"{option.cost:.2f}",
                    option.machines,
                ]
                for option in found.options
            ],
            right=["units", "detection", "whole run", "cost in USD", "machines"],
        )
    )


def _duration(seconds: float) -> str:
    if seconds >= _HOUR:
        return f"{seconds / _HOUR:.1f} h"
    if seconds >= _MINUTE:
        return f"{seconds / _MINUTE:.1f} min"
    return f"{seconds:.1f} s"
