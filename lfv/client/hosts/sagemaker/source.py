"""Which model is meant, and what is known of it.

A model is named as SageMaker names it, by the end of its ARN: ``model/NAME``,
``model-package/NAME`` or ``model-package/GROUP/VERSION``, ``training-job/NAME``, ``endpoint/NAME``;
a whole ARN does as well. A bare number is a version of the model package group that is called like
the project, and ``latest`` the newest training of the project by lfv, else the newest version of
that group.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from lfv.client.clock import Clock
from lfv.client.errors import HostRejected, HostUnavailable, ModelNotFound
from lfv.client.hosts.protocol import HostSpec
from lfv.client.hosts.sagemaker.account import Account, tag_list, utc
from lfv.client.retry import RetryPolicy, call_with_retries
from lfv.formats.status import ModelStatus

LATEST = "latest"
#: How calls that only look are repeated.
LOOKING = RetryPolicy(attempts=3, timeout=15.0, longest_retry_after=5.0)
KINDS = ("model", "model-package", "training-job", "endpoint")
_ARN = re.compile(r"arn:[^:]+:sagemaker:[^:]*:[^:]*:(.+)")
_NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9])*")
_LONGEST_NAME = 63
#: The names of lfv's training jobs: the project and the time.
JOB_NAME = re.compile(r"(?P<project>.+)-\d{14}")
_TRAINED = re.compile(r"^s3://.*/([^/]+)/output/model\.tar\.gz$")

TRAINING = {
    "Completed": ModelStatus.TRAINED,
    "Failed": ModelStatus.TRAINING_FAILED,
    "Stopped": ModelStatus.TRAINING_FAILED,
    "Stopping": ModelStatus.TRAINING_FAILED,
    "Deleting": ModelStatus.DELETING,
}


@dataclass(frozen=True)
class ModelSource:
    """One of `KINDS`, and the name."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"


@dataclass(frozen=True)
class SourceFacts:
    """A model while no endpoint hosts it.

    `package` is the model package to make a model of, `algorithm` and `data_url` what a training
    job is packaged from. `training` names lfv's training job that the model is from, empty where
    that does not show.
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
    """`name`, which SageMaker takes for a resource. Raises HostRejected."""
    if len(name) > _LONGEST_NAME or not _NAME.fullmatch(name):
        raise HostRejected(
            f"{what} {name!r} is not a name that SageMaker takes: up to {_LONGEST_NAME} letters, "
            "digits and hyphens, with a letter or digit at both ends."
        )
    return name


def resolve(account: Account, project: str, version: str) -> ModelSource:
    """The source that `version` names. Raises HostRejected, ModelNotFound."""
    check_name(project, "Project")
    arn = _ARN.fullmatch(version)
    named = arn[1] if arn else version
    kind, slash, name = named.partition("/")
    if slash and kind in KINDS:
        for part in name.split("/"):
            check_name(part, f"The {kind}")
        return ModelSource(kind, name)
    if version == LATEST:
        return _latest(account, project)
    if version.isdecimal():
        return ModelSource("model-package", f"{project}/{version}")
    choices = ", ".join(f"{kind}/NAME" for kind in KINDS)
    raise HostRejected(
        f"Model version {version!r} names no model of SageMaker; it is one of {choices}, the "
        f"number of a version in model package group {project}, or 'latest'."
    )


def open_source(
    spec: HostSpec, kind: str, connect_timeout: float, control_timeout: float, clock: Clock
) -> tuple[Account, ModelSource, HostSpec]:
    """The account of a host, the model that it is for, and its spec with that model spelled out.

    Raises HostError when the account is unusable or 'latest' cannot be looked up.
    """
    account = Account(spec.endpoint_url, spec.region, connect_timeout, control_timeout)
    source, _ = call_with_retries(
        lambda: resolve(account, spec.project, spec.model_version), LOOKING, clock=clock
    )
    return account, source, replace(spec, kind=kind, model_version=str(source))


def look_up(account: Account, source: ModelSource) -> SourceFacts:
    """What SageMaker knows of a source. Raises ModelNotFound."""
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
        return _training_job(account, source.name)
    if source.kind == "model-package":
        return _package(account, source.name)
    return _behind_endpoint(account, source.name)


def package_training(account: Account, job_name: str, facts: SourceFacts) -> str:
    """ARN of the model package of a training job, which is made where there is none.

    A package is part of a trained model, costs nothing, and stays. Raises HostUnavailable, which is
    tried again, until the package can be used.
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
        raise HostRejected(f"Model package {job_name} failed: {_package_failure(found)}.")
    raise HostUnavailable(f"Model package {job_name} is {status}.", retry_after=5.0)


def _latest(account: Account, project: str) -> ModelSource:
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
    usable = [one for one in packages if one.get("ModelPackageStatus") == "Completed"]
    if usable:
        newest = max(usable, key=lambda one: int(one.get("ModelPackageVersion", 0)))
        return ModelSource("model-package", f"{project}/{newest['ModelPackageVersion']}")
    raise ModelNotFound(
        f"SageMaker has neither a finished training {project}-… nor a model package group "
        f"{project}; name the model with --model-version, such as model/NAME or endpoint/NAME."
    )


def _versions(account: Account, group: str) -> Any:
    return account.pages(
        "list_model_packages", "ModelPackageSummaryList", ModelPackageGroupName=group
    )


def _training_job(account: Account, name: str) -> SourceFacts:
    found = account.call("describe_training_job", TrainingJobName=name)
    return SourceFacts(
        arn=str(found["TrainingJobArn"]),
        created_at=utc(found.get("CreationTime")),
        status=TRAINING.get(str(found.get("TrainingJobStatus")), ModelStatus.TRAINING),
        message=str(found.get("FailureReason") or ""),
        algorithm=str((found.get("AlgorithmSpecification") or {}).get("AlgorithmName") or ""),
        data_url=str((found.get("ModelArtifacts") or {}).get("S3ModelArtifacts") or ""),
    )


def _package(account: Account, name: str) -> SourceFacts:
    group, slash, version = name.partition("/")
    key = name
    if slash:
        arns = [
            str(one["ModelPackageArn"])
            for one in _versions(account, group)
            if str(one.get("ModelPackageVersion")) == version
        ]
        if not arns:
            raise ModelNotFound(f"Model package group {group} has no version {version}.")
        key = arns[0]
    found = account.call("describe_model_package", ModelPackageName=key)
    return SourceFacts(
        arn=str(found["ModelPackageArn"]),
        created_at=utc(found.get("CreationTime")),
        status=TRAINING.get(str(found.get("ModelPackageStatus")), ModelStatus.TRAINING),
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
    """The training job of ours that a model's containers are from, empty for none.

    `package_training` calls a package like its job, and SageMaker writes what a job has trained to
    `s3://.../JOB/output/model.tar.gz`. Jobs have the time in their names, so no two are the same.
    """
    for container in containers:
        package = str(container.get("ModelPackageName") or "").rpartition("model-package/")[2]
        data = _TRAINED.search(str(container.get("ModelDataUrl") or ""))
        for name in (package, data[1] if data else ""):
            if JOB_NAME.fullmatch(name):
                return f"training-job/{name}"
    return ""


def _behind_endpoint(account: Account, name: str) -> SourceFacts:
    """The model that an endpoint of somebody else hosts."""
    endpoint = account.endpoint(name)
    if endpoint is None:
        raise ModelNotFound(f"SageMaker has no endpoint {name}.")
    config = account.call("describe_endpoint_config", EndpointConfigName=endpoint.config_name)
    variants = config.get("ProductionVariants") or [{}]
    model = variants[0].get("ModelName")
    if not model:  # inference components: the endpoint is all that can be named
        return SourceFacts(endpoint.arn, endpoint.created_at)
    return look_up(account, ModelSource("model", str(model)))


def _package_failure(found: dict[str, Any]) -> str:
    details = found.get("ModelPackageStatusDetails") or {}
    reasons = [
        str(one.get("FailureReason"))
        for member in ("ValidationStatuses", "ImageScanStatuses")
        for one in details.get(member) or ()
        if one.get("FailureReason")
    ]
    return "; ".join(reasons)
