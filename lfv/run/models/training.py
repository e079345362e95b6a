"""Train a model version through the endpoint or the embedded service of the settings."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from lfv.client.api import lookoutvision_client
from lfv.client.hosts.calls import client_config
from lfv.client.hosts.sagemaker.account import Account
from lfv.client.hosts.sagemaker.training_job import TrainingJob, check_project, train_on_sagemaker
from lfv.client.manifests import manifest_digest
from lfv.client.sources import SourceReader
from lfv.client.staging import LabelledData, StagedDataset, Staging, stage_training
from lfv.client.stores import absolute_source
from lfv.client.training import TrainedModel, train_model
from lfv.formats.errors import LfvError
from lfv.formats.host_kinds import LOOKOUTVISION, SAGEMAKER
from lfv.formats.labels import LabelNames
from lfv.formats.words import count_of
from lfv.run.active import open_reader
from lfv.run.embedded_service import api_endpoint
from lfv.run.fit_records import FIT
from lfv.run.models.training_settings import training_request
from lfv.run.start import code_version
from lfv.settings import LfvSettingsError, Settings
from lfv_store import ModelKey, NewTraining, Store, StoreError, Training, open_store

logger = logging.getLogger(__name__)

#: Key in a training's `images` for the additional label names of normal and anomaly.
LABEL_NAMES = "label_names"
#: Bucket of the embedded service.
EMBEDDED_BUCKET = "lfv"


def train_project(
    settings: Settings,
    data: LabelledData,
    project: str,
    *,
    description: str = "",
    trained_by: str = "",
    progress: Callable[[str], None] = logger.info,
) -> TrainedModel:
    """Stage labelled images, train a version of a project's model on them, and record the training.

    If `data` has a fit, it also applies when the model inspects images.

    Raises:
        LfvSettingsError: The settings name an endpoint but no bucket for the images, or an ONNX
            file that is refused.
        ServiceNotStarted: The embedded service did not start.
        lfv.formats.errors.LfvError: The data or the service refuse the training.
        lfv_store.StoreError: The results database cannot be used; nothing was trained.
    """
    staging = staging_place(settings)
    with (
        open_store(settings.store_url, patience_seconds=settings.store_patience_seconds) as store,
        # Images in a bucket need not fit into a request.
        open_reader(settings.model_copy(update={"reencode": False})) as reader,
    ):
        if settings.host == LOOKOUTVISION:
            progress("starting the service" if settings.endpoint_url is None else "connecting")
            with training_client(settings) as client:
                model = train_model(
                    client,
                    reader,
                    staging,
                    data,
                    project,
                    description=description,
                    timeout=settings.training_deadline_seconds,
                    progress=progress,
                    tags=training_request(settings).to_tags(),
                )
        else:
            model = _train_on_sagemaker(settings, reader, staging, data, project, progress)
        try:
            record_training(store, reader, settings.host, model, data, trained_by)
        except (StoreError, LfvError) as error:
            # The model exists nevertheless.
            logger.error("the training is not recorded: %s", error)
            progress(f"the training is not recorded: {error}")
        return model


@contextmanager
def training_client(settings: Settings) -> Iterator[Any]:
    """Open a client of the endpoint in `settings`, or of the embedded service."""
    with api_endpoint(settings) as url, api_client(settings, url) as client:
        yield client


@contextmanager
def api_client(settings: Settings, url: str | None) -> Iterator[Any]:
    """Open a client of the Lookout for Vision API at `url`."""
    config = client_config(
        connect_timeout=settings.connect_timeout_seconds,
        read_timeout=settings.read_timeout_seconds,
    )
    with closing(lookoutvision_client(url, settings.region, config=config)) as client:
        yield client


def record_training(
    store: Store,
    reader: SourceReader,
    host: str,
    model: TrainedModel,
    data: LabelledData,
    trained_by: str,
) -> int:
    """Record a training, so that a model's verdicts can be traced to its data."""
    key = ModelKey(host, model.model_arn, model.project, model.version, model.created_at)
    test = model.test
    names = {"normal": list(data.normal), "anomaly": list(data.anomaly)}
    label_names = {label: given for label, given in names.items() if given}
    return store.trainings.record(
        NewTraining(
            model_id=store.models.register(key),
            source=absolute_source(data.source),
            test_source=None if data.test is None else absolute_source(data.test),
            manifest_sha256=manifest_digest(str(model.train.manifest), reader),
            test_manifest_sha256=None
            if test is None
            else manifest_digest(str(test.manifest), reader),
            images={
                use: _images(dataset)
                for use, dataset in (("train", model.train), ("test", test))
                if dataset is not None
            }
            | ({LABEL_NAMES: label_names} if label_names else {}),
            figures={"f1": model.f1, "precision": model.precision, "recall": model.recall},
            remarks=(model.message,) if model.message else (),
            trained_by=trained_by,
            trained_at=datetime.now(UTC),
            code_version=code_version(),
        )
    )


def names_of(training: Training) -> LabelNames:
    """Return the label names with which a training read its source."""
    given = training.images.get(LABEL_NAMES, {})
    return LabelNames.of(given.get("normal", ()), given.get("anomaly", ()))


def _images(dataset: StagedDataset) -> dict[str, Any]:
    return {
        "images": dataset.images,
        "normal": dataset.normal,
        "anomalous": dataset.anomalous,
        "masks": dataset.masks,
        "anomaly_types": list(dataset.anomaly_types),
        "width": dataset.width,
        "height": dataset.height,
        "skipped": dict(dataset.skipped),
        FIT: dataset.fit,
        "fitted": dataset.fitted,
    }


def _train_on_sagemaker(
    settings: Settings,
    reader: SourceReader,
    staging: Staging,
    data: LabelledData,
    project: str,
    progress: Callable[[str], None],
) -> TrainedModel:
    """Train with a job of the successor algorithm on SageMaker."""
    if settings.host != SAGEMAKER:
        raise LfvSettingsError(f"models cannot be trained on host {settings.host}")
    if data.test is not None:
        raise LfvSettingsError(
            "a training job on SageMaker takes its test images from the training images: leave "
            "out --test"
        )
    account = Account(
        settings.endpoint_url, settings.region, connect_timeout=settings.connect_timeout_seconds
    )
    with closing(account):
        check_project(project)
        job = TrainingJob.parse(settings.host_options, account.region_name)
        dataset, unused = stage_training(
            data.source, reader, staging, names=data.names(), progress=progress, fit=data.fit
        )
        model = train_on_sagemaker(
            account,
            reader,
            staging,
            dataset,
            project,
            job,
            timeout=settings.training_deadline_seconds,
            progress=progress,
        )
    if unused is None:
        return model
    return replace(model, message=f"{count_of(unused.images, 'test image')} of the source not used")


def staging_place(settings: Settings, *, purpose: str = "to read the images from") -> Staging:
    """Return the bucket and prefix through which the service and this machine exchange files.

    Raises `LfvSettingsError` if the service is not embedded and no bucket is named.
    """
    if settings.staging_uri is not None:
        bucket, _, prefix = settings.staging_uri.removeprefix("s3://").partition("/")
        return Staging(bucket, prefix.rstrip("/") + "/" if prefix else "")
    if settings.endpoint_url is not None or settings.host != LOOKOUTVISION:
        where = settings.endpoint_url or settings.host
        raise LfvSettingsError(
            f"the service at {where} needs a bucket {purpose}; "
            "name one with --staging s3://BUCKET/PREFIX or LFV_STAGING_URI"
        )
    settings.embedded_bucket.mkdir(parents=True, exist_ok=True)
    return Staging(EMBEDDED_BUCKET)


def training_report(settings: Settings, model: TrainedModel) -> str | None:
    """Return where the training report is, else the EvaluationResult; None if there is neither."""
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
