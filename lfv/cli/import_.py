"""`lfv import`: import data and models of other tools as a project of the service."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lfv.cli import output
from lfv.cli.common import current_user, settings_from
from lfv.cli.options import (
    AnomalyOption,
    BucketOption,
    ConvertOption,
    EndpointUrlOption,
    JsonOption,
    NormalOption,
    ProjectOption,
    RegionOption,
    StagingOption,
    examples,
)
from lfv.cli.progress import Activity
from lfv.cli.short_texts import dataset_text, measure
from lfv.formats.folder_layout import describe_skipped

if TYPE_CHECKING:
    from lfv.client.staging import StagedDataset
    from lfv.run.models.importing import ImportResult


def register(app: typer.Typer) -> None:
    epilog = examples(
        "lfv import s3://old-bucket/train.manifest --project parts --bucket old-bucket=copy/",
        "lfv import coco/annotations.json --project parts --train",
        "lfv import exported/ --data images/ --project parts",
    )
    app.command("import", epilog=epilog)(import_)


def import_(
    source: Annotated[
        str,
        typer.Argument(
            help="A dataset or evaluation manifest of Lookout for Vision, a COCO file, a VOC, "
            "YOLO or MVTec folder, an anomalib export (ONNX) or a SageMaker model.tar.gz; here or "
            "at s3://.",
        ),
    ],
    *,
    project: ProjectOption,
    test: Annotated[
        str | None,
        typer.Option("--test", metavar="SOURCE", help="Test images, of any of those kinds."),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            metavar="SOURCE",
            help="Labelled images for a model: an ONNX model is calibrated on them, a SageMaker "
            "model is replaced by one trained on them.",
        ),
    ] = None,
    images: Annotated[
        str | None,
        typer.Option(
            "--images",
            metavar="FOLDER",
            help="Folder of the images of COCO or VOC annotations, if not the annotations' own.",
        ),
    ] = None,
    boxes: Annotated[
        bool,
        typer.Option("--boxes", help="Use bounding boxes as masks where there are no outlines."),
    ] = False,
    train: Annotated[
        bool, typer.Option("--train", help="Train a model version on the images immediately.")
    ] = False,
    normal: NormalOption = None,
    anomaly: AnomalyOption = None,
    staging: StagingOption = None,
    endpoint_url: EndpointUrlOption = None,
    region: RegionOption = None,
    bucket: BucketOption = None,
    convert: ConvertOption = False,
    as_json: JsonOption = False,
) -> None:
    """Import data or a model of another tool or service as a project of the service.

    Images become the project's datasets; with --train or --data a model version is trained too.
    Every image is checked first. Images without a label are left out and counted. Any other
    problem is reported, and nothing is imported. `lfv parity` compares old answers with new ones.
    """
    settings = settings_from(
        endpoint_url=endpoint_url,
        region=region,
        buckets=bucket,
        convert=convert or None,
        staging_uri=staging,
    )
    from lfv.run.models.importing import ImportRequest, import_project

    request = ImportRequest(
        source=source,
        project=project,
        test=test,
        data=data,
        images=images,
        boxes=boxes,
        train=train,
        normal=tuple(normal or ()),
        anomaly=tuple(anomaly or ()),
    )
    with Activity(f"import {project}", quiet=as_json) as activity:
        result = import_project(
            settings, request, trained_by=current_user(), progress=activity.show
        )
    if as_json:
        output.show_json(_as_dict(result))
    else:
        output.show_facts(_facts(result))


def _facts(result: ImportResult) -> dict[str, Any]:
    facts: dict[str, Any] = {"source": str(result.kind), **result.facts}
    for name, dataset in (("train dataset", result.train), ("test dataset", result.test)):
        if dataset is not None:
            facts[name] = dataset_text(dataset)
            facts[f"{name}: skipped"] = describe_skipped(dataset.skipped) or None
    if result.model is not None:
        facts["model"] = f"{result.project}, version {result.model.version}"
        facts["F1"] = measure(result.model.f1)
    facts["next"] = result.next_step or None
    return facts


def _as_dict(result: ImportResult) -> dict[str, Any]:
    shown = asdict(result)
    for use in ("train", "test"):
        dataset: StagedDataset | None = getattr(result, use)
        if dataset is not None:
            shown[use]["manifest"] = str(dataset.manifest)
    model = result.model
    shown["model"] = None if model is None else {"version": model.version, "arn": model.model_arn}
    return shown
