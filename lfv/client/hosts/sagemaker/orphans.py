"""Finds resources that lfv created in an account by their tags, without a database."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from lfv.client.hosting import ensure_stopped
from lfv.client.hosts.protocol import HostSpec, ModelHost
from lfv.client.hosts.sagemaker import account as tags
from lfv.client.hosts.sagemaker import batch
from lfv.client.hosts.sagemaker.account import Account, utc
from lfv.client.hosts.sagemaker.host import KIND, SageMakerHost

#: Status of a deleted endpoint whose configuration or model remains, which costs nothing.
GONE = "gone"


@dataclass(frozen=True)
class TaggedEndpoint:
    """An endpoint or batch job created by lfv; `status` is SageMaker's status, or `GONE`."""

    name: str
    status: str
    project: str = ""
    run_id: str = ""
    created_at: datetime | None = None
    is_job: bool = False


def tagged_endpoints(endpoint_url: str | None, region: str | None) -> list[TaggedEndpoint]:
    """List resources that lfv created in the account and region.

    These are endpoints, running batch jobs, and deleted endpoints that left a configuration or
    model. Raises HostError.
    """
    account = Account(endpoint_url, region)
    try:
        found = {}
        for entry in account.pages("list_endpoints", "Endpoints"):
            marks = account.tags(str(entry["EndpointArn"]))
            if marks.get(tags.CREATED_BY) == tags.CREATOR:
                name = str(entry["EndpointName"])
                found[name] = TaggedEndpoint(
                    name=name,
                    status=str(entry.get("EndpointStatus", "")),
                    project=marks.get(tags.PROJECT, ""),
                    run_id=marks.get(tags.RUN, ""),
                    created_at=utc(entry.get("CreationTime")),
                )
        for job, its_marks, created_at in batch.running_jobs(account):
            found[job] = TaggedEndpoint(
                name=job,
                status="InProgress",
                project=its_marks.get(tags.PROJECT, ""),
                run_id=its_marks.get(tags.RUN, ""),
                created_at=created_at,
                is_job=True,
            )
        for marks in _marks_of_parts(account):
            name = marks.get(tags.ENDPOINT, "")
            if name and name not in found:
                project, run_id = marks.get(tags.PROJECT, ""), marks.get(tags.RUN, "")
                found[name] = TaggedEndpoint(name, GONE, project, run_id)
        return sorted(found.values(), key=lambda one: one.name)
    finally:
        account.close()


def delete_endpoint(
    endpoint: TaggedEndpoint, endpoint_url: str | None, region: str | None, *, timeout: float
) -> None:
    """Delete an endpoint, or stop a job, with everything that belongs to it, and wait for the end.

    `timeout` is in seconds. Raises HostError or HostingError.
    """
    project, version = endpoint.project or "unknown", f"endpoint/{endpoint.name}"
    host: ModelHost
    if endpoint.is_job:
        job = {"job": endpoint.name}
        spec = HostSpec(batch.KIND, project, version, endpoint_url, region, job)
        host = batch.BatchJobHost(spec)
    else:
        options = {"endpoint_name": endpoint.name}
        host = SageMakerHost(HostSpec(KIND, project, version, endpoint_url, region, options))
    try:
        ensure_stopped(host, "delete-unknown", timeout=timeout)
    finally:
        host.close()


def _marks_of_parts(account: Account) -> list[dict[str, str]]:
    """List the tags of the endpoint configurations and models that lfv created."""
    found = []
    for kind, operation in (
        ("EndpointConfig", "list_endpoint_configs"),
        ("Model", "list_models"),
    ):
        for entry in account.pages(operation, f"{kind}s"):
            marks = account.tags(str(entry[f"{kind}Arn"]))
            if marks.get(tags.CREATED_BY) == tags.CREATOR:
                found.append(marks)
    return found
