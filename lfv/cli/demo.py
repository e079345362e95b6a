"""`lfv demo`: train and inspect on this machine, with drawn product images."""

from __future__ import annotations

import shlex
import shutil
import sys
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lfv.cli import output
from lfv.cli.common import current_user, settings_from, store_from
from lfv.cli.demo_results import ImageResult, image_results
from lfv.cli.options import JsonOption, examples
from lfv.cli.progress import Activity
from lfv.cli.short_texts import figures_text
from lfv.formats.training_request import FALSE_ALARMS, MISS_COST
from lfv.formats.words import count_of

if TYPE_CHECKING:
    from lfv.cli.demo_images import DemoSet
    from lfv.client.training import TrainedModel
    from lfv.run.summary import RunSummary
    from lfv.settings import Settings

PROJECT = "demo-flange"
#: Confident anomalies are rejected; uncertain answers of either kind are reviewed.
POLICY = {
    "name": "demo: reject from 0.8, review what is unsure",
    "default": {
        "classification": {"min_confidence": 0.8},
        "review": {"anomalous_from": 0.5, "normal_below": 0.7},
    },
}
DEFAULT_OUTPUT = Path("demo-output")
LATEST = "latest"


def register(app: typer.Typer) -> None:
    app.command("demo", epilog=examples("lfv demo", "lfv demo --output ~/lfv-demo --seed 7"))(demo)


def demo(
    *,
    folder: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="FOLDER",
            help="Where images, database and report go.",
            file_okay=False,
        ),
    ] = DEFAULT_OUTPUT,
    seed: Annotated[int | None, typer.Option("--seed", help="Draw different parts.", min=0)] = None,
    as_json: JsonOption = False,
) -> None:
    """See an inspection happen, without an account and without images of your own.

    Draws sixty machined parts with scratches, dents and stains, trains a model on them, inspects
    two dozen other parts with it, and shows every verdict. One of the inspected files is broken on
    purpose: its record has the reason, and the other parts are inspected.
    """
    from lfv.run.embedded_service import api_endpoint
    from lfv.run.models.training import training_report

    began = monotonic()
    settings = _own_settings(folder)
    images = _draw(folder, seed, quiet=as_json)
    # Open during both steps, so that the service starts only once.
    with api_endpoint(settings):
        model = _train(settings, images, quiet=as_json)
        summary = _inspect(settings, images, model, quiet=as_json)
    _link_latest(settings, summary.run_id)
    with store_from(settings) as store:
        results = image_results(store, summary.run_id)
    took = monotonic() - began
    training = training_report(settings, model)
    if as_json:
        output.show_json(_as_dict(settings, images, model, training, summary, results, took))
    else:
        _show(settings, training, summary, results, took)


def _own_settings(folder: Path) -> Settings:
    """Return settings that keep the demo to its folder and ignore the environment."""
    given = settings_from(home=folder)
    alone: dict[str, Any] = {
        "endpoint_url": None,
        "database_url": "",
        "buckets": {},
        "staging_uri": None,
        "backbone": None,
        "detector": None,
        "network": False,
        "pretrained_backbone": True,
        "miss_cost": MISS_COST,
        "false_alarms": FALSE_ALARMS,
    }
    return given.model_copy(update=alone)


def _draw(folder: Path, seed: int | None, *, quiet: bool) -> DemoSet:
    from lfv.cli.demo_images import DEFAULT_SEED, make_demo_set

    with Activity("draw parts", quiet=quiet) as activity:
        activity.show("product images for training and inspection")
        return make_demo_set(
            folder.absolute() / "images",
            seed=DEFAULT_SEED if seed is None else seed,
            progress=activity.count,
        )


def _train(settings: Settings, images: DemoSet, *, quiet: bool) -> TrainedModel:
    from lfv.client.staging import LabelledData
    from lfv.run.models.training import train_project

    with Activity("train", quiet=quiet) as activity:
        data = LabelledData(str(images.train_manifest))
        model = train_project(settings, data, PROJECT, progress=activity.show)
    if not quiet:
        figures = {"F1": model.f1, "precision": model.precision, "recall": model.recall}
        output.note(f"trained {PROJECT} version {model.version}: {figures_text(figures)}")
    return model


def _inspect(
    settings: Settings, images: DemoSet, model: TrainedModel, *, quiet: bool
) -> RunSummary:
    from lfv.cli.flow_run import run_flow

    arguments = {
        "source": str(images.inspect_manifest),
        "project": PROJECT,
        "model_version": model.version,
        "policy": POLICY,
        "triggered_by": f"lfv demo ({current_user()})",
    }
    return run_flow(settings, arguments, show_progress=not quiet)


def _link_latest(settings: Settings, run_id: str) -> None:
    """Link the folder of the run's report under a short name, if links are possible."""
    folder, latest = settings.run_folder(run_id), settings.home / LATEST
    if latest.is_symlink():
        latest.unlink()
    with suppress(OSError):  # another file exists, or the file system has no links
        latest.symlink_to(folder.relative_to(settings.home), target_is_directory=True)


def _show(
    settings: Settings,
    training: str | None,
    summary: RunSummary,
    results: list[ImageResult],
    took: float,
) -> None:
    columns = ("part", "labelled", "verdict", "model's answer", "anomalies found")
    rows = [
        (result.serial, result.label, result.verdict, result.answer, result.anomalies)
        for result in results
    ]
    counts = summary.counts
    output.show(
        output.table(columns, rows),
        "",
        f"{count_of(counts.total, 'part')} inspected, {took:.0f} s in total: "
        f"{counts.accepted} accepted, {counts.rejected} rejected, {counts.review} to review, "
        f"{counts.errors} not inspected. The model is stopped.",
    )
    for result in results:
        if result.error is not None:
            output.show(
                f"Line {result.line_number} is damaged on purpose; its record has the error: "
                f"{result.error}"
            )
    command = f"LFV_HOME={shlex.quote(_relative(settings.home))} {_own_command()}"
    output.show(
        "",
        output.facts(
            {
                "report": _relative(_report(settings, summary)),
                "training": _relative(training),
                "database": settings.shown_store_url,
            }
        ),
        "",
        "Next:",
        f"  {command} show last",
        f"  {command} ui",
        f"  {command} review",
        f"  {command} export last --format csv",
    )


def _own_command() -> str:
    """Return how to call this program: by its name, if the shell finds it."""
    path = Path(sys.argv[0]).absolute()
    found = shutil.which("lfv")
    if path.name != "lfv" or (found is not None and Path(found).absolute() == path):
        return "lfv"
    return shlex.quote(_relative(path))


def _report(settings: Settings, summary: RunSummary) -> Path | None:
    """Return the report's path, by its short name if there is one."""
    short = settings.home / LATEST / "report.html"
    return short if summary.report is not None and short.is_file() else summary.report


def _relative(path: Path | str | None) -> str:
    """Return the shortest form of a path to type from here."""
    if path is None:
        return ""
    path, here = Path(path), Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _as_dict(
    settings: Settings,
    images: DemoSet,
    model: TrainedModel,
    training: str | None,
    summary: RunSummary,
    results: list[ImageResult],
    took: float,
) -> dict[str, Any]:
    return {
        "run": asdict(summary),
        "model": {
            "project": model.project,
            "version": model.version,
            "f1": model.f1,
            "precision": model.precision,
            "recall": model.recall,
            "report": training,
        },
        "images": images.folder,
        "database": settings.shown_store_url,
        "seconds": took,
        "results": [asdict(result) for result in results],
    }
