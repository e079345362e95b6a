"""The models of an account: the trainings by lfv, and whether an endpoint hosts them."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from datetime import datetime

from lfv.client.hosts.calls import utc
from lfv.client.hosts.protocol import HostSpec
from lfv.client.hosts.sagemaker.account import STATUSES, Account
from lfv.client.hosts.sagemaker.host import endpoint_name_of
from lfv.client.hosts.sagemaker.source import JOB_NAME, MODEL_STATUSES
from lfv.formats.host_kinds import SAGEMAKER
from lfv.formats.status import ModelStatus


@dataclass(frozen=True)
class TrainedJob:
    """A training job `PROJECT-` and 14 digits; `version` is what ``--model-version`` takes."""

    project: str
    version: str
    status: ModelStatus
    arn: str
    created_at: datetime | None


def trained_jobs(
    endpoint_url: str | None, region: str | None, *, project: str | None = None
) -> list[TrainedJob]:
    """List the trainings of one or all projects, by project, newest first. Raises HostError."""
    with closing(Account(endpoint_url, region)) as account:
        arguments = {} if project is None else {"NameContains": project}
        up = {
            str(entry["EndpointName"]): str(entry.get("EndpointStatus", ""))
            for entry in account.pages("list_endpoints", "Endpoints")
        }
        found = []
        for job in account.pages("list_training_jobs", "TrainingJobSummaries", **arguments):
            name = str(job["TrainingJobName"])
            match = JOB_NAME.fullmatch(name)
            if match is None or project not in {None, match["project"]}:
                continue
            version = f"training-job/{name}"
            status = MODEL_STATUSES.get(str(job.get("TrainingJobStatus")), ModelStatus.TRAINING)
            endpoint = endpoint_name_of(HostSpec(SAGEMAKER, match["project"], version))
            if endpoint in up:
                status = STATUSES.get(up[endpoint], ModelStatus.SYSTEM_UPDATING)
            found.append(
                TrainedJob(
                    match["project"],
                    version,
                    status,
                    str(job["TrainingJobArn"]),
                    utc(job.get("CreationTime")),
                )
            )
        found.sort(key=lambda one: one.version, reverse=True)
        return sorted(found, key=lambda one: one.project)
