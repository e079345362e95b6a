"""`lfv train`: train a model version on a labelled manifest."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lfv.cli import output
from lfv.cli.common import check_source, current_user, settings_from
from lfv.cli.errors import Interrupted, WrongUsage
from lfv.cli.options import (
    AnomalyOption,
    BackboneOption,
    BucketOption,
    ConvertOption,
    DetectorOption,
    EndpointUrlOption,
    FalseAlarmsOption,
    GraphMibOption,
    HostOption,
    HostOptionOption,
    JsonOption,
    MissCostOption,
    NetworkOption,
    NoBackboneOption,
    NormalOption,
    ProjectOption,
    RegionOption,
    StagingOption,
    examples,
)
from lfv.cli.progress import Activity
from lfv.cli.short_texts import dataset_text, measure
from lfv.cli.signals import restored
from lfv.formats.fit_mode import FitMode
from lfv.formats.folder_layout import describe_skipped
from lfv.formats.status import ModelStatus
from lfv.formats.words import count_of

if TYPE_CHECKING:
    from lfv.client.staging import StagedDataset
    from lfv.client.training import TrainedModel
    from lfv.run.models.approvals import LatestVersion
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
            help="Labelled images: a manifest (Ground Truth JSON Lines, CSV) or a folder of class "
            "folders such as good/ and bad/, here or at s3://.",
        ),
    ],
    *,
    project: ProjectOption,
    test: Annotated[
        str | None,
        typer.Option(
            "--test",
            metavar="SOURCE",
            help="Labelled manifest of test images. Default: cross-validation on SOURCE.",
        ),
    ] = None,
    description: Annotated[
        str,
        typer.Option("--description", help="Description of the model version.", show_default=False),
    ] = "",
    normal: NormalOption = None,
    anomaly: AnomalyOption = None,
    staging: StagingOption = None,
    backbone: BackboneOption = None,
    detector: DetectorOption = None,
    graph_mib: GraphMibOption = None,
    network: NetworkOption = False,
    host: HostOption = None,
    host_option: HostOptionOption = None,
    no_backbone: NoBackboneOption = False,
    miss_cost: MissCostOption = None,
    false_alarms: FalseAlarmsOption = None,
    endpoint_url: EndpointUrlOption = None,
    region: RegionOption = None,
    bucket: BucketOption = None,
    convert: ConvertOption = False,
    fit: Annotated[
        FitMode | None,
        typer.Option(
            "--fit",
            help="How to fit images of other sizes, in training and in inspections: scale (refused "
            "if it changes the aspect ratio by more than a tenth), stretch, or crop to the centre. "
            "Default: refuse them.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Train a model version on labelled images, and wait until it is trained.

    Every image is checked first; if one cannot be trained on, its line is named and nothing is
    trained. Images that SOURCE marks as tests, by a folder test/ or a column split, measure the
    model and are not trained on. With masks, a segmentation model is trained, which also locates
    defects. An existing project gets a new version.
    """
    settings = settings_from(
        endpoint_url=endpoint_url,
        host=host,
        host_options=host_option,
        region=region,
        buckets=bucket,
        convert=convert or None,
        staging_uri=staging,
        backbone=backbone,
        detector=detector,
        graph_mib=graph_mib,
        network=network or None,
        pretrained_backbone=False if no_backbone else None,
        miss_cost=miss_cost,
        false_alarms=false_alarms,
    )
    of_engine = backbone or detector or network or no_backbone or miss_cost or false_alarms
    if settings.endpoint_url is not None and of_engine:
        raise WrongUsage(
            "--backbone, --no-backbone, --detector, --network, --miss-cost and --false-alarms "
            "apply to the service on this machine; for the one at "
            f"{settings.endpoint_url}, give them to its `lfv serve`"
        )
    check_source(source)
    from lfv.client.staging import LabelledData
    from lfv.run.models.training import train_project, training_report

    last_text = ""

    def show(text: str) -> None:
        nonlocal last_text
        last_text = text
        activity.show(text)

    try:
        with restored(), Activity(f"train {project}", quiet=as_json) as activity:
            model = train_project(
                settings,
                LabelledData(source, test, tuple(normal or ()), tuple(anomaly or ()), fit=fit),
                project,
                description=description,
                trained_by=current_user(),
                progress=show,
            )
    except KeyboardInterrupt:
        if last_text.endswith(f": {ModelStatus.TRAINED}"):
            raise
        raise Interrupted(_leftovers(settings, project)) from None
    report = training_report(settings, model)
    latest = _latest(settings, model)
    if as_json:
        approved = latest and latest.approved and latest.approved.model_version
        output.show_json(_as_dict(model) | {"report": report, "approved_version": approved})
        return
    next_runs = latest and latest.text()
    output.show_facts(_facts(model) | {"report": report, "next runs": next_runs})


def _latest(settings: Settings, model: TrainedModel) -> LatestVersion | None:
    """The version that the next runs use; None if the results database does not answer."""
    from lfv.run.models.approvals import latest_after_training
    from lfv_store import StoreError, open_store

    try:
        with open_store(settings.store_url) as store:
            return latest_after_training(store, model.project, model.version, settings.host)
    except StoreError as error:
        output.note(f"lfv: the version for the next runs is unknown: {error}")
        return None


def _leftovers(settings: Settings, project: str) -> str:
    """Describe what an interrupted training leaves."""
    from lfv.run.embedded_service import ends_with_us

    if ends_with_us(settings):
        return (
            f"the version of {project} in training was discarded; earlier versions, if there are "
            "any, stay in use"
        )
    return (
        "a training that has started continues in the service, and `lfv models` shows it; earlier "
        f"versions of {project}, if there are any, stay in use"
    )


def _facts(model: TrainedModel) -> dict[str, Any]:
    data = model.train
    skipped = Counter(data.skipped) + Counter(model.test.skipped if model.test else {})
    return {
        "model": f"{model.project}, version {model.version}",
        "trained on": dataset_text(data),
        "other sizes": data.fit and f"{data.fit} ({count_of(data.fitted, 'image')})",
        "tested on": _test_source(model.test),
        "skipped files": describe_skipped(skipped) or None,
        "F1": measure(model.f1),
        "precision": measure(model.precision),
        "recall": measure(model.recall),
        "took": f"{model.seconds:.1f} s",
        "remark": model.message,
    }


def _test_source(data: StagedDataset | None) -> str | None:
    if data is None:
        return None
    return f"{count_of(data.images, 'image')}: {data.normal} normal, {data.anomalous} anomalous"


def _as_dict(model: TrainedModel) -> dict[str, Any]:
    shown = asdict(model)
    for kind in ("train", "test"):
        if shown[kind] is not None:
            shown[kind]["manifest"] = str(getattr(model, kind).manifest)
    return shown
