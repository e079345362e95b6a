"""`lfv inspect`: inspect the images of a manifest, or resume a run."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lfv.cli import output
from lfv.cli.common import (
    check_local_project,
    check_source,
    current_user,
    find_run,
    settings_from,
    store_from,
)
from lfv.cli.errors import ExitStatus, WrongUsage
from lfv.cli.flow_run import run_flow
from lfv.cli.options import (
    AnomalyOption,
    BucketOption,
    ConvertOption,
    DaskAddressOption,
    DatabaseUrlOption,
    EndpointUrlOption,
    HostOption,
    HostOptionOption,
    JsonOption,
    ModelVersionOption,
    NormalOption,
    ReencodeOption,
    RegionOption,
    ShardsOption,
    StagingOption,
    TaskRunnerOption,
    examples,
)
from lfv.cli.short_texts import figures_text
from lfv.client.stores import absolute_source
from lfv.formats.folder_layout import describe_skipped
from lfv.formats.words import count_of
from lfv.run.defaults import DEFAULT_CONFIDENCE, DEFAULT_SETTLE_SECONDS
from lfv.run.modes import InspectionMode, check_mode

if TYPE_CHECKING:
    from lfv.run.summary import RunSummary
    from lfv.settings import Settings


#: Options allowed with --resume: places, and limits of this attempt.
_WITH_RESUME = frozenset(
    {"resume", "endpoint_url", "database_url", "region", "bucket", "convert", "as_json"}
    | {"staging", "reencode", "task_runner", "dask_address", "shards"}
    | {"max_cost", "max_hosted_minutes"}
)


def register(app: typer.Typer) -> None:
    app.command(
        "inspect",
        epilog=examples(
            "lfv inspect images/ --project cookies",
            "lfv inspect test.manifest --project cookies --confidence 0.9 --max-cost 5",
            "lfv inspect s3://lot/ --project parts --shards 3",
            "lfv inspect --resume last",
        ),
    )(inspect)


def inspect(
    context: typer.Context,
    source: Annotated[
        str | None,
        typer.Argument(help="Manifest (JSON Lines, CSV, text), folder, or s3://bucket/prefix/."),
    ] = None,
    *,
    project: Annotated[
        str | None, typer.Option("--project", "-p", help="Name of the project.")
    ] = None,
    model_version: ModelVersionOption = "latest",
    confidence: Annotated[
        float | None,
        typer.Option(
            "--confidence",
            min=0.0,
            max=1.0,
            help="Confidence that a verdict needs: with it, anomalous images are rejected and "
            f"normal ones accepted; the others are reviewed. Default: {DEFAULT_CONFIDENCE}.",
        ),
    ] = None,
    policy: Annotated[
        Path | None,
        typer.Option(
            "--policy",
            metavar="FILE",
            help="Verdict policy in YAML or JSON, instead of --confidence.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    min_inference_units: Annotated[
        int, typer.Option("--min-inference-units", min=1, help="Inference units to host.")
    ] = 1,
    max_inference_units: Annotated[
        int | None,
        typer.Option("--max-inference-units", min=1, help="Inference units to scale up to."),
    ] = None,
    again: Annotated[
        bool,
        typer.Option(
            "--again", help="Run detection again on images that this model has already judged."
        ),
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Fail at the first line that cannot be read.")
    ] = False,
    allow_empty: Annotated[
        bool, typer.Option("--allow-empty", help="Complete a run whose source has no image.")
    ] = False,
    new_only: Annotated[
        bool,
        typer.Option(
            "--new-only",
            help="Inspect only images of a folder or prefix that no earlier run of this source and "
            "project has inspected; finding none is not an error.",
        ),
    ] = False,
    settle_seconds: Annotated[
        float,
        typer.Option(
            "--settle-seconds",
            min=0.0,
            help="With --new-only, leave files that changed within this many seconds to the next "
            "run, because they may be incomplete.",
        ),
    ] = DEFAULT_SETTLE_SECONDS,
    max_cost: Annotated[
        float | None, typer.Option("--max-cost", min=0.0, help="Stop at this cost, in US dollars.")
    ] = None,
    max_hosted_minutes: Annotated[
        float | None,
        typer.Option(
            "--max-hosted-minutes",
            min=0.0,
            help="Stop when the model has been hosted for this many minutes.",
        ),
    ] = None,
    resume: Annotated[
        str | None,
        typer.Option(
            "--resume",
            metavar="RUN",
            help="Resume a run that ended early, with its source, model and policy.",
        ),
    ] = None,
    host: HostOption = None,
    host_option: HostOptionOption = None,
    mode: Annotated[
        InspectionMode,
        typer.Option(
            "--mode",
            help="live: image by image, with the model up. batch: all images in a batch transform "
            "job of SageMaker, without an endpoint, through the bucket of --staging.",
        ),
    ] = InspectionMode.LIVE,
    staging: StagingOption = None,
    endpoint_url: EndpointUrlOption = None,
    database_url: DatabaseUrlOption = None,
    region: RegionOption = None,
    bucket: BucketOption = None,
    normal: NormalOption = None,
    anomaly: AnomalyOption = None,
    convert: ConvertOption = False,
    reencode: ReencodeOption = False,
    task_runner: TaskRunnerOption = None,
    dask_address: DaskAddressOption = None,
    shards: ShardsOption = 0,
    triggered_by: Annotated[
        str | None,
        typer.Option(
            "--triggered-by",
            metavar="NAME",
            help="Who or what started the run, for its record. Default: the current user.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Inspect every image of a manifest, store each answer, and stop the model.

    The model is started only if an image needs it, and stopped however the run ends. For images
    that this model has already judged, the stored answers are used. Exit status 3 if images could
    not be inspected, or if there were none.
    """
    if (resume is None) == (source is None):
        raise WrongUsage("use either SOURCE or --resume RUN")
    if resume is not None:
        _refuse_what_the_run_has(context)
    elif project is None:
        raise WrongUsage("--project is missing: name the project of the model")
    for name, limit in (("--max-cost", max_cost), ("--max-hosted-minutes", max_hosted_minutes)):
        if limit == 0:
            raise WrongUsage(f"{name} must be greater than 0")
    if policy is not None and confidence is not None:
        raise WrongUsage("use either --confidence or --policy")
    if shards and mode is InspectionMode.BATCH:
        raise WrongUsage("--mode batch cannot be combined with --shards: SageMaker runs the job")
    settings = settings_from(
        endpoint_url=endpoint_url,
        database_url=database_url,
        region=region,
        buckets=bucket,
        convert=convert or None,
        reencode=reencode or None,
        host=host,
        host_options=host_option,
        staging_uri=staging,
        task_runner=task_runner,
        dask_address=dask_address,
    )
    arguments: dict[str, Any] = {
        "max_cost": max_cost,
        "max_hosted_minutes": max_hosted_minutes,
        "shards": shards,
    }
    if resume is not None:
        with store_from(settings) as store:
            run = find_run(store, resume, to_resume=True)
        host = run.host
        arguments["run"] = run.run_id
    else:
        source, project = absolute_source(source or ""), project or ""
        _check_new(settings, source, project, mode, policy)
        arguments |= {
            "source": source,
            "project": project,
            "model_version": model_version,
            "confidence": confidence,
            "policy": str(policy.resolve()) if policy else None,
            "min_inference_units": min_inference_units,
            "max_inference_units": max_inference_units,
            "again": again,
            "strict": strict,
            "allow_empty": allow_empty,
            "new_only": new_only,
            "settle_seconds": settle_seconds,
            "normal": normal,
            "anomaly": anomaly,
            "mode": mode.value,
            "triggered_by": triggered_by or f"lfv inspect ({current_user()})",
        }
    from lfv.run.errors import InspectionError, NoVerdict

    try:
        summary = run_flow(
            settings, arguments, resume=resume is not None, show_progress=not as_json, host=host
        )
    except InspectionError as error:
        if error.summary is not None:
            _show(error.summary, settings, as_json=as_json)
        if isinstance(error, NoVerdict):
            output.note(f"lfv: {error}")
            raise typer.Exit(ExitStatus.SOME_NOT_INSPECTED) from None
        raise
    _show(summary, settings, as_json=as_json)
    if summary.counts.errors:
        raise typer.Exit(ExitStatus.SOME_NOT_INSPECTED)


def _check_new(
    settings: Settings, source: str, project: str, mode: InspectionMode, policy: Path | None
) -> None:
    """Report errors of a new run before anything is started."""
    check_mode(mode.value, settings.host, settings)
    check_source(source)
    if policy is not None:
        from lfv.client.policy import Policy

        Policy.load(policy)
    check_local_project(settings, project)


def _show(summary: RunSummary, settings: Settings, *, as_json: bool) -> None:
    if as_json:
        output.show_json(asdict(summary))
        return
    counts = summary.counts
    output.show_facts(
        {
            "run": summary.run_id,
            "status": summary.status,
            "model": f"{summary.project}, version {summary.model_version}"
            + (f", {summary.approval}" if summary.approval else ""),
            "images": counts.total,
            "accept": counts.accepted,
            "reject": counts.rejected,
            "review": counts.review,
            "not inspected": counts.errors or None,
            "skipped files": describe_skipped(summary.skipped) or None,
            "reused answers": counts.reused or None,
            "against labels": _compare_with_labels(summary),
            "report": summary.report,
            "database": settings.shown_store_url,
        }
    )
    if counts.errors:
        output.note(
            f"{count_of(counts.errors, 'image')} could not be inspected; "
            f"`lfv show {summary.run_id[:8]}` shows the errors"
        )


def _refuse_what_the_run_has(context: typer.Context) -> None:
    """Raise `WrongUsage` for an option that a resumed run would ignore."""
    given = [
        f"--{name.replace('_', '-')}"
        for name in context.params
        if name not in _WITH_RESUME
        and (where := context.get_parameter_source(name)) is not None
        and where.name == "COMMANDLINE"
    ]
    if given:
        raise WrongUsage(
            f"--resume uses the options that the run was started with; leave out {', '.join(given)}"
        )


def _compare_with_labels(summary: RunSummary) -> str | None:
    """Format the figures of a labelled run."""
    found = summary.evaluation
    if found is None:
        return None
    figures = {
        "precision": found.precision,
        "recall": found.recall,
        "F1": found.f1,
        "ROC AUC": found.roc_auc,
    }
    shown = (figures_text(figures), f"on {count_of(found.images, 'image')}")
    return ", ".join(filter(None, shown))
