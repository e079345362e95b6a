"""Find the SageMaker resource that a model version names, and describe it.

A model version is the end of a SageMaker ARN: `model/NAME`, `model-package/NAME`,
`model-package/GROUP/VERSION`, `training-job/NAME` or `endpoint/NAME`. A whole ARN is accepted as
well. A bare number is a version in the model package group with the project's name. `latest` is
the project's newest completed training job that lfv created, else the newest completed version in
that group.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from lfv.client.errors import HostRejected, HostUnavailable, ModelNotFound
from lfv.client.hosts.calls import utc
from lfv.client.hosts.protocol import HostSpec
from lfv.client.hosts.sagemaker.account import Account, tag_list
from lfv.client.retry import READ_RETRIES, call_with_retries
from lfv.formats.host_kinds import LATEST
from lfv.formats.status import ModelStatus

KINDS = ("model", "model-package", "training-job", "endpoint")
_ARN = re.compile(r"arn:[^:]+:sagemaker:[^:]*:[^:]*:(.+)")
_NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9])*")
_LONGEST_NAME = 63
#: Names of lfv's training jobs: the project and the time of creation.
JOB_NAME = re.compile(r"(?P<project>.+)-\d{14}")
_TRAINED = re.compile(r"^s3://.*/([^/]+)/output/model\.tar\.gz$")

#: Model status by `TrainingJobStatus` or `ModelPackageStatus`; any other means TRAINING.
MODEL_STATUSES = {
    "Completed": ModelStatus.TRAINED,
    "Failed": ModelStatus.TRAINING_FAILED,
    "Stopped": ModelStatus.TRAINING_FAILED,
    "Stopping": ModelStatus.TRAINING_FAILED,
    "Deleting": ModelStatus.DELETING,
}


@dataclass(frozen=True)
class ModelSource:
    """A SageMaker resource: its kind, one of `KINDS`, and its name."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"


@dataclass(frozen=True)
class SourceFacts:
    """What SageMaker reports about a model, apart from its hosting.

    Attributes:
        arn: ARN of the resource.
        created_at: Its creation time.
        status: TRAINED, or the state of its training or packaging.
        message: Why training or packaging failed; else empty.
        package: ARN of the model package to create a model from; empty for other kinds.
        algorithm: Name of the training job's algorithm; empty for other kinds.
        data_url: S3 URL of the training job's model data; empty for other kinds.
        training: `training-job/NAME` of the lfv training job that produced the model; empty if
            unknown.
    """

    arn: str
    created_at: datetime | None
    status: ModelStatus = ModelStatus.TRAINED
    message: str = ""
    package: str = ""
    algorithm: str = ""
    data_url: str = ""
    training: str = ""


def check_name(name: str, what: str) -> str:
    """Return `name`; raise HostRejected if SageMaker does not accept it as a resource name."""
    if len(name) > _LONGEST_NAME or not _NAME.fullmatch(name):
        raise HostRejected(
            f"{what} {name!r} is not a valid SageMaker name. Use up to {_LONGEST_NAME} letters, "
            "digits and hyphens, starting and ending with a letter or digit."
        )
    return name


def resolve(account: Account, project: str, version: str) -> ModelSource:
    """Return the resource that a model version names.

    Raises:
        HostRejected: The project or the version is not a valid name.
        ModelNotFound: `latest` is requested and the project has no usable model.
    """
    check_name(project, "Project")
    arn = _ARN.fullmatch(version)
    named = arn[1] if arn else version
    kind, slash, name = named.partition("/")
    if slash and kind in KINDS:
        # Only a model package has a version part.
        parts = name.split("/", 1) if kind == "model-package" else [name]
        for part in parts:
            check_name(part, f"The {kind}")
        return ModelSource(kind, name)
    if version == LATEST:
        return _find_latest(account, project)
    if version.isdecimal():
        return ModelSource("model-package", f"{project}/{version}")
    choices = ", ".join(f"{kind}/NAME" for kind in KINDS)
    raise HostRejected(
        f"{version!r} is not a SageMaker model. Use {choices}, a version number in model package "
        f"group {project}, or 'latest'."
    )


def open_source(
    spec: HostSpec, kind: str, connect_timeout: float, control_timeout: float
) -> tuple[Account, ModelSource, HostSpec]:
    """Return the account, the resource, and the spec with the resource as its model version.

    Raises:
        HostError: The account cannot be used, or the model version cannot be resolved.
    """
    account = Account(spec.endpoint_url, spec.region, connect_timeout, control_timeout)
    source, _ = call_with_retries(
        lambda: resolve(account, spec.project, spec.model_version), READ_RETRIES
    )
    return account, source, replace(spec, kind=kind, model_version=str(source))


def look_up(account: Account, source: ModelSource) -> SourceFacts:
    """Describe a resource. Raises ModelNotFound."""
    try:
        return _look_up(account, source)
    except ModelNotFound as error:
        if source.kind == "endpoint":  # the endpoint or its model: the error says which
            raise
        raise _missing(account, source, error.operation) from error


def _missing(account: Account, source: ModelSource, operation: str) -> ModelNotFound:
    kind = source.kind.replace("-", " ")
    return ModelNotFound(
        f"SageMaker in {account.region_name} has no {kind} {source.name}.", operation=operation
    )


def _look_up(account: Account, source: ModelSource) -> SourceFacts:
    if source.kind == "model":
        found = account.call("describe_model", ModelName=source.name)
        return SourceFacts(
            str(found["ModelArn"]),
            utc(found.get("CreationTime")),
            training=_training_of(
                [found.get("PrimaryContainer") or {}, *(found.get("Containers") or ())]
            ),
        )
    if source.kind == "training-job":
        return _describe_training_job(account, source.name)
    if source.kind == "model-package":
        return _describe_package(account, source.name)
    return _describe_model_of_endpoint(account, source.name)


def package_training(account: Account, job_name: str, facts: SourceFacts) -> str:
    """Return the ARN of a training job's model package, creating the package if needed.

    The package belongs to the trained model, costs nothing, and is kept.

    Raises:
        HostRejected: SageMaker could not create the package.
        HostUnavailable: The package is not ready yet; retry.
    """
    try:
        found = account.call("describe_model_package", ModelPackageName=job_name)
    except ModelNotFound:
        account.call(
            "create_model_package",
            ModelPackageName=job_name,
            SourceAlgorithmSpecification={
                "SourceAlgorithms": [
                    {"AlgorithmName": facts.algorithm, "ModelDataUrl": facts.data_url}
                ]
            },
            Tags=tag_list({"lfv:created-by": "lfv"}),
        )
        found = account.call("describe_model_package", ModelPackageName=job_name)
    status = str(found.get("ModelPackageStatus", ""))
    if status == "Completed":
        return str(found["ModelPackageArn"])
    if status == "Failed":
        reason = _package_failure(found).rstrip(".") or "SageMaker gave no reason"
        raise HostRejected(f"Model package {job_name} failed: {reason}.")
    raise HostUnavailable(f"Model package {job_name} is {status}.", retry_after=5.0)


def _find_latest(account: Account, project: str) -> ModelSource:
    jobs = account.pages(
        "list_training_jobs",
        "TrainingJobSummaries",
        NameContains=project,
        StatusEquals="Completed",
        SortBy="CreationTime",
        SortOrder="Descending",
    )
    for job in jobs:
        name = str(job["TrainingJobName"])
        if (match := JOB_NAME.fullmatch(name)) and match["project"] == project:
            return ModelSource("training-job", name)
    try:
        packages = list(_versions(account, project))
    except (ModelNotFound, HostRejected):  # no such group
        packages = []
    usable = [package for package in packages if package.get("ModelPackageStatus") == "Completed"]
    if usable:
        newest = max(usable, key=lambda one: int(one.get("ModelPackageVersion", 0)))
        return ModelSource("model-package", f"{project}/{newest['ModelPackageVersion']}")
    raise ModelNotFound(
        f"SageMaker in {account.region_name} has neither a completed training job {project}-… nor "
        f"a completed version in model package group {project}. Name the model with "
        "--model-version, such as model/NAME or endpoint/NAME."
    )


def _versions(account: Account, group: str) -> Any:
    return account.pages(
        "list_model_packages", "ModelPackageSummaryList", ModelPackageGroupName=group
    )


def _describe_training_job(account: Account, name: str) -> SourceFacts:
    found = account.call("describe_training_job", TrainingJobName=name)
    return SourceFacts(
        arn=str(found["TrainingJobArn"]),
        created_at=utc(found.get("CreationTime")),
        status=MODEL_STATUSES.get(str(found.get("TrainingJobStatus")), ModelStatus.TRAINING),
        message=str(found.get("FailureReason") or ""),
        algorithm=str((found.get("AlgorithmSpecification") or {}).get("AlgorithmName") or ""),
        data_url=str((found.get("ModelArtifacts") or {}).get("S3ModelArtifacts") or ""),
    )


def _describe_package(account: Account, name: str) -> SourceFacts:
    group, slash, version = name.partition("/")
    key = name
    if slash:
        arns = [
            str(package["ModelPackageArn"])
            for package in _versions(account, group)
            if str(package.get("ModelPackageVersion")) == version
        ]
        if not arns:
            raise ModelNotFound(f"Model package group {group} has no version {version}.")
        key = arns[0]
    found = account.call("describe_model_package", ModelPackageName=key)
    return SourceFacts(
        arn=str(found["ModelPackageArn"]),
        created_at=utc(found.get("CreationTime")),
        status=MODEL_STATUSES.get(str(found.get("ModelPackageStatus")), ModelStatus.TRAINING),
        message=_package_failure(found),
        package=str(found["ModelPackageArn"]),
        training=_training_of(
            [
                {"ModelPackageName": found["ModelPackageArn"]},
                *((found.get("SourceAlgorithmSpecification") or {}).get("SourceAlgorithms") or ()),
                *((found.get("InferenceSpecification") or {}).get("Containers") or ()),
            ]
        ),
    )


def _training_of(containers: Iterable[Mapping[str, Any]]) -> str:
    """Return `training-job/NAME` for the lfv training job that produced containers, else "".

    `package_training` names a package after its job, and SageMaker writes a job's model to
    `s3://.../JOB/output/model.tar.gz`. The time in a job's name makes it unique.
    """
    for container in containers:
        package = str(container.get("ModelPackageName") or "").rpartition("model-package/")[2]
        data = _TRAINED.search(str(container.get("ModelDataUrl") or ""))
        for name in (package, data[1] if data else ""):
            if JOB_NAME.fullmatch(name):
                return f"training-job/{name}"
    return ""


def _describe_model_of_endpoint(account: Account, name: str) -> SourceFacts:
    """Describe the model of an endpoint that lfv did not create."""
    endpoint = account.endpoint(name)
    if endpoint is None:
        raise _missing(account, ModelSource("endpoint", name), "DescribeEndpoint")
    config = account.call("describe_endpoint_config", EndpointConfigName=endpoint.config_name)
    variants = config.get("ProductionVariants") or [{}]
    model = variants[0].get("ModelName")
    if not model:  # with inference components, only the endpoint can be named
        return SourceFacts(endpoint.arn, endpoint.created_at)
    return look_up(account, ModelSource("model", str(model)))


def _package_failure(found: dict[str, Any]) -> str:
    details = found.get("ModelPackageStatusDetails") or {}
    reasons = [
        str(status.get("FailureReason"))
        for member in ("ValidationStatuses", "ImageScanStatuses")
        for status in details.get(member) or ()
        if status.get("FailureReason")
    ]
    return "; ".join(reasons)
