"""Trains a model version from a labelled manifest.

Calls CreateProject, CreateDataset (train, and test if given) and CreateModel, and waits for
datasets and model. In an existing project, the datasets are replaced and the next version is
trained. Every call that changes something carries a ClientToken derived from one token for the
whole training, so that a call whose answer was lost can be repeated.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from lfv.client.api.service_model import service_model
from lfv.client.clock import SYSTEM_CLOCK, Backoff, Clock
from lfv.client.errors import (
    HostConflict,
    ModelNotFound,
    TrainingDataInvalid,
    TrainingFailed,
    TrainingTimedOut,
)
from lfv.client.hosts.calls import call, utc
from lfv.client.retry import RetryPolicy, call_with_retries
from lfv.client.sources import SourceReader
from lfv.client.staging import (
    LabelledData,
    StagedDataset,
    Staging,
    check_same_dimensions,
    stage_dataset,
    stage_training,
)
from lfv.formats.fit import Fit
from lfv.formats.refs import S3Ref
from lfv.formats.training_request import FITTED

Progress = Callable[[str], None]

_DAY = 86_400.0
_IN_PROGRESS = "_IN_PROGRESS"
#: Start of a failed training's status message, before the reason.
_FAILED = re.compile(r"^training failed[:;.]?\s*", re.IGNORECASE)


@dataclass(frozen=True)
class TrainedModel:
    """A new model version. Measures are fractions from 0 to 1, None if the service reported none.

    `evaluation_result` is the `s3://` reference of the file that the service wrote. `seconds` is
    the duration of the whole training, staging included.
    """

    project: str
    version: str
    model_arn: str
    f1: float | None
    precision: float | None
    recall: float | None
    evaluation_result: str | None
    created_at: datetime | None
    seconds: float
    train: StagedDataset
    test: StagedDataset | None
    message: str = ""


def train_model(
    client: Any,
    reader: SourceReader,
    staging: Staging,
    data: LabelledData,
    project: str,
    *,
    description: str = "",
    timeout: float = _DAY,
    progress: Progress = lambda _: None,
    clock: Clock = SYSTEM_CLOCK,
    tags: Mapping[str, str] | None = None,
) -> TrainedModel:
    """Train a version of `project`'s model and wait for the result.

    `client` is a client from `lookoutvision_client`. If `data` has no test images, the service
    splits the images. `tags` become tags of the model. `timeout` limits the waiting, in seconds;
    after it, the training continues at the service.

    Raises TrainingDataInvalid before anything is created; TrainingFailed with the service's reason;
    TrainingTimedOut; HostError for failed calls; ManifestError for an unusable
    manifest; SourceError for an unreadable source or a bucket that cannot be written.
    """
    began = clock.monotonic()
    check_names(project, description)
    names = data.names()
    train, test = stage_training(
        data.source,
        reader,
        staging,
        names=names,
        progress=progress,
        needs_labels=data.needs_labels,
        fit=data.fit,
    )
    if data.test is not None:
        test = stage_dataset(
            data.test,
            reader.with_fit(Fit.parse(train.fit or "")),
            staging,
            names=names,
            progress=progress,
            needs_labels=data.needs_labels,
        )
    check_same_dimensions(train, test)
    api = _Api(client, timeout, progress, clock)
    api.replace_datasets(project, train, test)
    given = {**(tags or {}), **({FITTED: train.fit} if train.fit else {})}
    version = api.create_model(project, staging, description, given)
    model = api.wait_for_model(project, version)
    performance = model.get("Performance") or {}
    return TrainedModel(
        project=project,
        version=version,
        model_arn=model.get("ModelArn") or "",
        f1=performance.get("F1Score"),
        precision=performance.get("Precision"),
        recall=performance.get("Recall"),
        evaluation_result=_location(model.get("EvaluationResult")),
        created_at=utc(model.get("CreationTimestamp")),
        seconds=clock.monotonic() - began,
        train=train,
        test=test,
        message=" ".join(filter(None, (model.get("StatusMessage"), _hint(train, test)))),
    )


def import_datasets(
    client: Any,
    project: str,
    train: StagedDataset | None,
    test: StagedDataset | None,
    *,
    timeout: float = _DAY,
    progress: Progress = lambda _: None,
) -> None:
    """Make staged data the datasets of a project, creating it if needed, without training.

    An existing dataset stays as it is if no new one is given. Raises like `train_model`.
    """
    check_names(project, "")
    if train is not None:
        check_same_dimensions(train, test)
    api = _Api(client, timeout, progress, SYSTEM_CLOCK)
    api.replace_datasets(project, train, test, keep=True)


class _Api:
    """The API calls of one training, with translated errors, retries and waiting."""

    def __init__(self, client: Any, timeout: float, progress: Progress, clock: Clock) -> None:
        self._client = client
        self._token = uuid.uuid4().hex
        self._deadline = clock.monotonic() + timeout
        self._progress = progress
        self._clock = clock
        self._last_text = ""

    def ensure_project(self, project: str) -> frozenset[str]:
        """Create the project if needed; return the kinds of its datasets ('train', 'test')."""
        try:
            answer = self._call("DescribeProject", ProjectName=project)
        except ModelNotFound:
            self._tell(f"creating project {project}")
            try:
                self._call(
                    "CreateProject", ProjectName=project, ClientToken=self._sub_token("project")
                )
            except HostConflict:  # someone else has created it meanwhile
                return self.ensure_project(project)
            return frozenset()
        datasets = answer["ProjectDescription"].get("Datasets") or ()
        return frozenset(
            dataset["DatasetType"]
            for dataset in datasets
            if dataset.get("Status") != "DELETE_COMPLETE"
        )

    def replace_datasets(
        self,
        project: str,
        train: StagedDataset | None,
        test: StagedDataset | None,
        *,
        keep: bool = False,
    ) -> None:
        """Set the project's datasets; with `keep`, those not given are kept, else deleted."""
        present = self.ensure_project(project)
        for kind, dataset in (("train", train), ("test", test)):
            if kind in present and not (keep and dataset is None):
                self.delete_dataset(project, kind)
            if dataset is not None:
                self.create_dataset(project, kind, dataset.manifest)

    def delete_dataset(self, project: str, kind: str) -> None:
        self._tell(f"replacing the {kind} dataset of {project}")
        self._settled_dataset(project, kind)
        try:
            self._call(
                "DeleteDataset",
                ProjectName=project,
                DatasetType=kind,
                ClientToken=self._sub_token(f"delete-{kind}"),
            )
        except ModelNotFound:
            return
        self._wait_until(
            lambda: self._dataset(project, kind)[0] in ("", "DELETE_COMPLETE"),
            f"deleting the {kind} dataset",
        )

    def create_dataset(self, project: str, kind: str, manifest: S3Ref) -> None:
        self._tell(f"creating the {kind} dataset")
        self._call(
            "CreateDataset",
            ProjectName=project,
            DatasetType=kind,
            DatasetSource={
                "GroundTruthManifest": {
                    "S3Object": {"Bucket": manifest.bucket, "Key": manifest.key}
                }
            },
            ClientToken=self._sub_token(f"create-{kind}"),
        )
        status, message = self._settled_dataset(project, kind)
        if status == "CREATE_FAILED":
            raise TrainingFailed(
                f"The {kind} dataset could not be created: "
                f"{message.rstrip('.') or 'no reason was given'}."
            )

    def create_model(
        self, project: str, staging: Staging, description: str, tags: Mapping[str, str]
    ) -> str:
        arguments: dict[str, Any] = {"Description": description} if description else {}
        if tags:
            arguments["Tags"] = [{"Key": key, "Value": value} for key, value in tags.items()]
        answer = self._call(
            "CreateModel",
            ProjectName=project,
            OutputConfig={
                "S3Location": {"Bucket": staging.bucket, "Prefix": staging.key("output/")}
            },
            ClientToken=self._sub_token("model"),
            **arguments,
        )
        return str(answer["ModelMetadata"]["ModelVersion"])

    def wait_for_model(self, project: str, version: str) -> dict[str, Any]:
        model: dict[str, Any] = {}

        def trained() -> bool:
            answer = self._call("DescribeModel", ProjectName=project, ModelVersion=version)
            model.clear()
            model.update(answer["ModelDescription"])
            status, message = model.get("Status"), model.get("StatusMessage") or ""
            # The final message is reported elsewhere, with the figures or as the reason.
            progress = f" ({message})" if message and status == "TRAINING" else ""
            self._tell(f"version {version}: {status}{progress}")
            if status == "TRAINING_FAILED":
                reason = _FAILED.sub("", message).rstrip(".") or "no reason was given"
                raise TrainingFailed(f"Training {project} version {version} failed: {reason}.")
            return status != "TRAINING"

        self._wait_until(trained, f"training version {version}", Backoff(0.2, 1.3, 15.0))
        return model

    def _settled_dataset(self, project: str, kind: str) -> tuple[str, str]:
        """Wait until a dataset is no longer in progress; return its status and message."""
        seen = ("", "")

        def settled() -> bool:
            nonlocal seen
            seen = self._dataset(project, kind)
            return not seen[0].endswith(_IN_PROGRESS)

        self._wait_until(settled, f"preparing the {kind} dataset")
        return seen

    def _dataset(self, project: str, kind: str) -> tuple[str, str]:
        """Return a dataset's status and message; empty strings if it does not exist."""
        try:
            answer = self._call("DescribeDataset", ProjectName=project, DatasetType=kind)
        except ModelNotFound:
            return "", ""
        described = answer["DatasetDescription"]
        return described.get("Status") or "", described.get("StatusMessage") or ""

    def _wait_until(self, done: Callable[[], bool], what: str, poll: Backoff | None = None) -> None:
        poll = poll or Backoff(0.1, 1.5, 5.0)
        attempt = 0
        while not done():
            attempt += 1
            left = self._deadline - self._clock.monotonic()
            if left <= 0:
                raise TrainingTimedOut(
                    f"Timed out while {what}; the service continues, see `lfv models`."
                )
            self._clock.wait(min(poll.seconds(attempt), left))

    def _call(self, operation: str, **arguments: Any) -> Any:
        once = partial(call, self._client, operation, **arguments)
        return call_with_retries(once, RetryPolicy(), clock=self._clock)[0]

    def _sub_token(self, what: str) -> str:
        return uuid.uuid5(uuid.NAMESPACE_OID, f"{self._token}/{what}").hex

    def _tell(self, text: str) -> None:
        if text != self._last_text:
            self._last_text = text
            self._progress(text)


def _hint(train: StagedDataset, test: StagedDataset | None) -> str:
    """Return a hint if all anomalies are test images, as in MVTec AD; empty otherwise."""
    if test is None or train.anomalous or not test.anomalous:
        return ""
    return (
        f"Every anomalous image ({test.anomalous} in all) is a test, so the model learned from "
        "normal images alone; to learn from anomalies too, train on the tests' folder or rows."
    )


def check_names(project: str, description: str) -> None:
    """Check names before staging, as the API would after it. Raises TrainingDataInvalid."""
    operation = service_model().operation_model("CreateModel")
    if operation.input_shape is None:
        return
    members = operation.input_shape.members
    for member, text, what, characters in (
        (
            "ProjectName",
            project,
            "project's name",
            "letters, digits, '-' and '_', the first a letter or digit",
        ),
        ("Description", description, "description", "letters, digits, '.', '-' and '_', no spaces"),
    ):
        allowed = members[member].metadata
        if text and (len(text) > allowed["max"] or not re.fullmatch(allowed["pattern"], text)):
            raise TrainingDataInvalid(
                f"The {what} {text[:80]!r} is not allowed; the API accepts {characters}, "
                f"at most {allowed['max']} characters."
            )


def _location(value: Any) -> str | None:
    return f"s3://{value['Bucket']}/{value['Key']}" if value else None
