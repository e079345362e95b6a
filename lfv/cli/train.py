"""`lfv train`: from a labelled manifest to a trained model version."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lfv.cli import output
from lfv.cli.common import settings_from
from lfv.cli.endpoint import api_endpoint
from lfv.cli.errors import WrongUsage
from lfv.cli.options import (
    BackboneOption,
    BucketOption,
    DetectorOption,
    EndpointUrlOption,
    GraphMibOption,
    JsonOption,
    NetworkOption,
    ProjectOption,
    RegionOption,
    examples,
)
from lfv.cli.progress import Activity

if TYPE_CHECKING:
    from lfv.client.staging import Staging
    from lfv.client.training import TrainedModel
    from lfv.settings import Settings


def register(app: typer.Typer) -> None:
    app.command(
        "train",
        epilog=examples(
            "lfv train parts/train.manifest --project parts",
            "lfv train s3://parts/train.manifest --test s3://parts/test.manifest --project parts "
            "--endpoint-url https://vision.example --staging s3://parts/staging",
            "lfv train parts/train.manifest --project parts --detector exported/model.onnx",
        ),
    )(train)


def train(
    source: Annotated[
        str,
        typer.Argument(
            help="Labelled manifest (Ground Truth JSON Lines or CSV), as a file or s3:// address.",
        ),
    ],
    *,
    project: ProjectOption,
    test: Annotated[
        str | None,
        typer.Option(
            "--test",
            metavar="SOURCE",
            help="Labelled manifest to measure the model with; else each image of "
            "SOURCE is judged by a model that was not trained on it.",
            show_default=False,
        ),
    ] = None,
    description: Annotated[
        str, typer.Option("--description", help="Kept with the model version.", show_default=False)
    ] = "",
    staging: Annotated[
        str | None,
        typer.Option(
            "--staging",
            metavar="S3-URI",
            help="Where the images are put for a service at an endpoint, instead of "
            "LFV_STAGING_URI: s3://BUCKET/PREFIX.",
            show_default=False,
        ),
    ] = None,
    backbone: BackboneOption = None,
    detector: DetectorOption = None,
    graph_mib: GraphMibOption = None,
    network: NetworkOption = False,
    endpoint_url: EndpointUrlOption = None,
    region: RegionOption = None,
    bucket: BucketOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train a model version on labelled images and wait until it can be used.

    Every image is checked first; one that cannot be trained on is named with its line, and nothing
    is trained then. Masks make the model a segmentation model, which also says where a defect is.
    A project that exists gets a further version.
    """
    settings = settings_from(
        endpoint_url=endpoint_url,
        region=region,
        buckets=bucket,
        staging_uri=staging,
        backbone=backbone,
        detector=detector,
        graph_mib=graph_mib,
        network=network or None,
    )
    if settings.endpoint_url is not None and (backbone or detector or network):
        raise WrongUsage(
            "--backbone, --detector and --network are for the service on this machine; the one at "
            f"{settings.endpoint_url} is given its own by who runs it (`lfv serve --backbone`)"
        )
    with Activity(f"train {project}", quiet=as_json) as activity:
        model = train_project(
            settings, source, project, activity, test=test, description=description
        )
    report = training_report(settings, model)
    if as_json:
        output.show_json(_as_dict(model) | {"report": report})
        return
    output.show(output.facts(_facts(model) | {"report": report}))


def train_project(
    settings: Settings,
    source: str,
    project: str,
    activity: Activity,
    *,
    test: str | None = None,
    description: str = "",
) -> TrainedModel:
    """Train through the endpoint or embedded service of `settings`.

    Raises `lfv.client.errors.LfvError`, `WrongUsage` when there is nowhere to stage images.
    """
    from lfv.client.api import lookoutvision_client
    from lfv.client.hosts.lookoutvision import client_config
    from lfv.client.sources import SourceReader
    from lfv.client.training import train_model

    place = _staging(settings)
    activity.tell("starting the service" if settings.endpoint_url is None else "connecting")
    with (
        api_endpoint(settings, training=True) as url,
        SourceReader(settings.bucket_folders, settings.s3_endpoint_url, settings.region) as reader,
    ):
        config = client_config(
            connect_timeout=settings.connect_timeout_seconds,
            read_timeout=settings.read_timeout_seconds,
        )
        client = lookoutvision_client(url, settings.region, config=config)
        try:
            return train_model(
                client,
                reader,
                place,
                source,
                project,
                test_source=test,
                description=description,
                timeout=settings.training_deadline_seconds,
                progress=activity.tell,
            )
        finally:
            client.close()


def training_report(settings: Settings, model: TrainedModel) -> str | None:
    """Where the service wrote what it found in training: its report where the bucket is a folder
    here, else the EvaluationResult."""
    written = model.evaluation_result
    if written is None:
        return None
    bucket, _, key = written.removeprefix("s3://").partition("/")
    folder = settings.bucket_folders.get(bucket)
    if folder is None:
        return written
    evaluation = folder / key
    reports = evaluation.parent / f"TrainingReport-{model.project}-{model.version}"
    pages = sorted(reports.glob("*.html"))
    return str(pages[0] if pages else evaluation)


def _staging(settings: Settings) -> Staging:
    from lfv.client.staging import Staging

    if settings.staging_uri is not None:
        bucket, _, prefix = settings.staging_uri.removeprefix("s3://").partition("/")
        return Staging(bucket, prefix.rstrip("/") + "/" if prefix else "")
    if settings.endpoint_url is not None:
        raise WrongUsage(
            f"the service at {settings.endpoint_url} needs a bucket to read the images from: "
            "name one with --staging s3://BUCKET/PREFIX or LFV_STAGING_URI"
        )
    settings.embedded_bucket.mkdir(parents=True, exist_ok=True)
    return Staging("lfv")


def _facts(model: TrainedModel) -> dict[str, Any]:
    data = model.train
    kinds = f" ({', '.join(data.anomaly_types)})" if data.anomaly_types else ""
    return {
        "model": f"{model.project}, version {model.version}",
        "trained on": f"{data.images} images of {data.width}x{data.height}: {data.normal} normal, "
        f"{data.anomalous} anomalous, {data.masks} with a mask{kinds}",
        "tested on": f"{model.test.images} images" if model.test else None,
        "F1": _measure(model.f1),
        "precision": _measure(model.precision),
        "recall": _measure(model.recall),
        "took": f"{model.seconds:.1f} s",
        "remark": model.message,
    }


def _as_dict(model: TrainedModel) -> dict[str, Any]:
    shown = asdict(model)
    for kind in ("train", "test"):
        if shown[kind] is not None:
            shown[kind]["manifest"] = str(getattr(model, kind).manifest)
    return shown


def _measure(value: float | None) -> str | None:
    return None if value is None else f"{value:.3f}"
