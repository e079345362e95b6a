"""StartModelPackagingJob, DescribeModelPackagingJob, ListModelPackagingJobs.

A job creates a portable archive of the model (see lfv.server.archive), with the name and version of
the requested component. Target device, platform and compiler options are checked and stored, but
do not change the archive.
"""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from lfv.formats.words import count_of
from lfv.server.errors import ConflictError, QuotaExceededError, ValidationError
from lfv.server.lifecycle import HAS_ARTIFACT, PackagingStatus
from lfv.server.operations.call import Call, Members
from lfv.server.operations.tags import as_dict
from lfv.server.state import packaging
from lfv.server.state.packaging import PackagingJob

_METHOD = "GreengrassV2"


def start_model_packaging_job(call: Call, members: Members) -> Members:
    project, model = call.project(members), call.model(members)
    if model.status not in HAS_ARTIFACT:
        raise ConflictError(
            f"model {model.name} is {model.status} and can't be packaged", model.name, "MODEL"
        )
    if len(packaging.unfinished(call.tx)) >= call.limits.concurrent_packaging_jobs:
        raise QuotaExceededError(
            f"only {count_of(call.limits.concurrent_packaging_jobs, 'packaging job')} may run at a"
            " time",
            "concurrent-packaging-jobs",
        )
    component = _component(members["Configuration"]["Greengrass"], model.version)
    name, version = component["ComponentName"], component["ComponentVersion"]
    if packaging.component_is_taken(call.tx, name, version):
        raise ConflictError(
            f"component {name} already has version {version}", name, "MODEL_PACKAGE_JOB"
        )
    job = packaging.create(
        call.tx,
        project,
        model,
        members.get("JobName") or f"{project.name[:40].replace('_', '-')}-{uuid4().hex[:12]}",
        {"Greengrass": component},
        members.get("Description"),
        call.region,
        call.now,
    )
    call.after_commit(lambda: call.work.package(job.id))
    return {"JobName": job.name}


def _component(given: dict[str, Any], model_version: int) -> dict[str, Any]:
    device, platform = given.get("TargetDevice"), given.get("TargetPlatform")
    if device is not None and platform is not None:
        raise ValidationError("TargetDevice can't be combined with TargetPlatform")
    if device is not None and "CompilerOptions" in given:
        raise ValidationError("TargetDevice can't be combined with CompilerOptions")
    as_dict(given.get("Tags", []))
    return {**given, "ComponentVersion": given.get("ComponentVersion", f"{model_version}.0.0")}


def describe_model_packaging_job(call: Call, members: Members) -> Members:
    job = packaging.get(call.tx, call.project(members), members["JobName"])
    output = None
    if job.status == PackagingStatus.SUCCEEDED:
        component = job.configuration["Greengrass"]
        name, version = component["ComponentName"], component["ComponentVersion"]
        arn = f"arn:aws:greengrass:{job.region or call.region}:aws:components:{name}"
        output = {
            "Greengrass": {
                "ComponentVersionArn": f"{arn}/versions/{version}",
                "ComponentName": name,
                "ComponentVersion": version,
            }
        }
    return {
        "ModelPackagingDescription": {
            **_metadata(members["ProjectName"], job),
            "ModelPackagingConfiguration": job.configuration,
            "ModelPackagingOutputDetails": output,
        }
    }


def list_model_packaging_jobs(call: Call, members: Members) -> Members:
    project = call.project(members)
    page, token = call.page(
        "ListModelPackagingJobs",
        members,
        lambda after, size: packaging.page(call.tx, project, after, size),
        lambda job: job.id,
    )
    return {
        "ModelPackagingJobs": [_metadata(project.name, job) for job in page],
        "NextToken": token,
    }


def _metadata(project_name: str, job: PackagingJob) -> Members:
    return {
        "JobName": job.name,
        "ProjectName": project_name,
        "ModelVersion": str(job.version),
        "ModelPackagingJobDescription": job.description,
        "ModelPackagingMethod": _METHOD,
        "Status": job.status,
        "StatusMessage": job.message,
        "CreationTimestamp": job.created_at,
        "LastUpdatedTimestamp": job.updated_at,
    }
