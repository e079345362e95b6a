"""Trains the successor algorithm by a training job, on a manifest in its format.

The names of the manifest's attributes must match in the manifest, the channel and two
hyperparameters, so they come from one constant. A segmentation model requires masks for normal
images, too, which get a white one. All checks are made before the job, which costs money.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from PIL import Image

from lfv.client.clock import SYSTEM_CLOCK, Backoff, Clock
from lfv.client.errors import (
    HostError,
    HostRejected,
    TrainingDataInvalid,
    TrainingFailed,
    TrainingTimedOut,
)
from lfv.client.hosts.sagemaker import account as tags
from lfv.client.hosts.sagemaker.account import Account, tag_list
from lfv.client.hosts.sagemaker.host import TRAINING_OPTIONS
from lfv.client.hosts.sagemaker.source import (
    ModelSource,
    SourceFacts,
    check_name,
    look_up,
    package_training,
)
from lfv.client.sources import SourceReader
from lfv.client.staging import StagedDataset, Staging
from lfv.client.training import TrainedModel
from lfv.formats.images import encoded
from lfv.formats.manifest.groundtruth import METADATA, SOURCE_REF
from lfv.formats.manifest.writing import LABEL, MASK, mask_metadata
from lfv.formats.refs import S3Ref
from lfv.formats.status import ModelStatus
from lfv.formats.words import count_of, form_of

CLASSIFICATION = (SOURCE_REF, f"{LABEL}{METADATA}", LABEL)
SEGMENTATION = (*CLASSIFICATION, f"{MASK}{METADATA}", MASK)
MODEL_TYPES = (
    "classification",
    "segmentation",
    "classification-robust",
    "segmentation-robust",
)
#: Known ARNs of the algorithm by region; its ARN differs in each region.
ALGORITHMS = {
    "us-east-1": "arn:aws:sagemaker:us-east-1:865070037744:algorithm/"
    "lfv-public-algorithm-2025-02-0-422b42886fa13174a28ac6ffbf8fc874"
}
_LONGEST_PROJECT = 48  # a job's name is the project's plus 15 characters
_INSTANCE_TYPE = "ml.g4dn.2xlarge"
_MAX_RUNTIME_SECONDS = 7200
_POLL = Backoff(2.0, 1.5, 30.0)
T = TypeVar("T")


@dataclass(frozen=True)
class TrainingJob:
    """The settings of a training job. If `model_type` is empty, the data decides it."""

    role_arn: str
    algorithm_arn: str
    model_type: str
    instance_type: str

    @classmethod
    def parse(cls, given: Mapping[str, Any], region: str) -> TrainingJob:
        """Read the settings from a host's options. Raises HostRejected.

        Without `algorithm_arn`, the algorithm's known ARN in the region is used.
        """
        names = {"role_arn", *TRAINING_OPTIONS}
        mine = {name: str(value) for name, value in given.items() if name in names}
        role = mine.get("role_arn", "")
        if not role:
            raise HostRejected(
                "A training job needs an execution role: give --host-option role_arn=ARN."
            )
        algorithm = mine.get("algorithm_arn") or ALGORITHMS.get(region, "")
        if not algorithm:
            raise HostRejected(
                f"The algorithm's ARN in {region} is unknown: subscribe to "
                "it in the AWS Marketplace and give --host-option algorithm_arn=ARN."
            )
        model_type = mine.get("model_type", "")
        if model_type and model_type not in MODEL_TYPES:
            raise HostRejected(f"Option model_type must be one of {', '.join(MODEL_TYPES)}.")
        instance_type = mine.get("training_instance_type") or _INSTANCE_TYPE
        return cls(role, algorithm, model_type, instance_type)


def train_on_sagemaker(
    account: Account,
    reader: SourceReader,
    staging: Staging,
    dataset: StagedDataset,
    project: str,
    job: TrainingJob,
    *,
    timeout: float,
    progress: Callable[[str], None] = lambda _: None,
    clock: Clock = SYSTEM_CLOCK,
) -> TrainedModel:
    """Train on a staged dataset, package the model, and return it.

    `timeout` limits the waiting, in seconds; after it, the job continues up to its own limit.

    Raises TrainingDataInvalid, TrainingFailed, TrainingTimedOut, HostError,
    and SourceError if the staged manifest cannot be read or written.
    """
    began = clock.monotonic()
    check_project(project)
    model_type = job.model_type or ("segmentation" if dataset.masks else "classification")
    attributes = SEGMENTATION if model_type.startswith("segmentation") else CLASSIFICATION
    manifest = _stage_manifest(reader, staging, dataset, attributes)
    name = f"{project}-{clock.now():%Y%m%d%H%M%S}"
    watch = _Watch(account, name, began + timeout, progress, clock)
    account.call(
        "create_training_job", **_request(name, project, job, model_type, manifest, staging)
    )
    facts = watch.wait_until_trained()
    progress("packaging the model")
    watch.wait_until_packaged(facts)
    described = account.call("describe_training_job", TrainingJobName=name)
    measures = _measures(described.get("FinalMetricDataList") or ())
    return TrainedModel(
        project=project,
        version=f"training-job/{name}",
        model_arn=facts.arn,
        f1=measures.get("f1"),
        precision=measures.get("precision"),
        recall=measures.get("recall"),
        evaluation_result=None,
        created_at=facts.created_at,
        seconds=clock.monotonic() - began,
        train=replace(dataset, manifest=manifest),
        test=None,
    )


def check_project(project: str) -> None:
    """Raise HostRejected if a project's jobs cannot have its name, before images are copied."""
    check_name(project, "Project")
    if len(project) > _LONGEST_PROJECT:
        raise HostRejected(f"Project {project!r} is longer than {_LONGEST_PROJECT} characters.")


def _request(
    name: str,
    project: str,
    job: TrainingJob,
    model_type: str,
    manifest: S3Ref,
    staging: Staging,
) -> dict[str, Any]:
    attributes = SEGMENTATION if model_type.startswith("segmentation") else CLASSIFICATION
    names = ",".join(attributes)
    return {
        "TrainingJobName": name,
        "AlgorithmSpecification": {
            "AlgorithmName": job.algorithm_arn,
            "TrainingInputMode": "Pipe",
        },
        "RoleArn": job.role_arn,
        "EnableNetworkIsolation": True,
        "HyperParameters": {
            "ModelType": model_type,
            "TrainingInputDataAttributeNames": names,
            "TestInputDataAttributeNames": names,
        },
        "InputDataConfig": [
            {
                "ChannelName": "training",
                "InputMode": "Pipe",
                "RecordWrapperType": "RecordIO",
                "DataSource": {
                    "S3DataSource": {
                        "S3DataType": "AugmentedManifestFile",
                        "S3DataDistributionType": "ShardedByS3Key",
                        "S3Uri": str(manifest),
                        "AttributeNames": list(attributes),
                    }
                },
            }
        ],
        "OutputDataConfig": {"S3OutputPath": f"s3://{staging.bucket}/{staging.key('models')}"},
        "ResourceConfig": {
            "InstanceType": job.instance_type,
            "InstanceCount": 1,
            "VolumeSizeInGB": 20,
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": _MAX_RUNTIME_SECONDS},
        "Tags": tag_list({tags.CREATED_BY: tags.CREATOR, tags.PROJECT: project}),
    }


def _stage_manifest(
    reader: SourceReader, staging: Staging, dataset: StagedDataset, attributes: tuple[str, ...]
) -> S3Ref:
    """Write a copy of the staged manifest with exactly these attributes in every row."""
    store = reader.bucket(staging.bucket)
    rows = [json.loads(line) for line in reader.read_bytes(str(dataset.manifest)).splitlines()]
    if MASK in attributes:
        without = sum(1 for row in rows if row[LABEL] and MASK not in row)
        if without:
            raise TrainingDataInvalid(
                f"{count_of(without, 'anomalous image')} "
                f"{form_of(without, 'has', 'have')} no mask, but a segmentation model needs masks: "
                "draw them, leave out the images, or give --host-option model_type=classification."
            )
        white = Image.new("RGB", (dataset.width, dataset.height), "white")
        key = staging.key("masks", f"white-{dataset.width}x{dataset.height}.png")
        store.put(key, encoded(white, "PNG"))
        dummy = {MASK: str(S3Ref(staging.bucket, key)), f"{MASK}{METADATA}": mask_metadata({})}
        rows = [row if MASK in row else row | dummy for row in rows]
    text = "".join(
        json.dumps({name: row[name] for name in attributes}, ensure_ascii=False) + "\n"
        for row in rows
    )
    target = dataset.manifest.key.removesuffix(".manifest") + ".sagemaker.manifest"
    store.put(target, text.encode())
    return S3Ref(staging.bucket, target)


@dataclass
class _Watch:
    """Waits for a running job, repeating calls that fail temporarily."""

    account: Account
    name: str
    deadline: float
    progress: Callable[[str], None]
    clock: Clock

    def wait_until_trained(self) -> SourceFacts:
        """Wait until the job has finished and return its facts."""
        source = ModelSource("training-job", self.name)
        looks = 0
        while True:
            looks += 1
            facts = self._try(lambda: look_up(self.account, source))
            if facts is not None:
                if facts.status is ModelStatus.TRAINED:
                    return facts
                if facts.status is not ModelStatus.TRAINING:
                    why = facts.message or "no reason was given"
                    raise TrainingFailed(f"Training job {self.name} failed: {why}.")
                self.progress(f"training job {self.name} is in progress")
            self._wait(looks)

    def wait_until_packaged(self, facts: SourceFacts) -> None:
        """Wait until the job's model package can be used."""
        looks = 0
        while self._try(lambda: package_training(self.account, self.name, facts)) is None:
            looks += 1
            self._wait(looks)

    def _try(self, call: Callable[[], T]) -> T | None:
        try:
            return call()
        except HostError as error:
            if not error.retryable:
                raise
            self.progress(f"reading training job {self.name} failed, retrying: {error}")
            return None

    def _wait(self, looks: int) -> None:
        if self.clock.monotonic() >= self.deadline:
            raise TrainingTimedOut(
                f"Training job {self.name} did not finish in time; it continues until its own "
                "limit."
            )
        self.clock.wait(_POLL.seconds(looks))


def _measures(metrics: Any) -> dict[str, float]:
    """Find F1, precision and recall in a job's final metrics, by parts of their names."""
    found: dict[str, float] = {}
    for metric in metrics:
        name = str(metric.get("MetricName", "")).casefold()
        for measure in ("f1", "precision", "recall"):
            if measure in name and 0.0 <= float(metric.get("Value", -1)) <= 1.0:
                found.setdefault(measure, float(metric["Value"]))
    return found
