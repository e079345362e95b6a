"""Finds resources that lfv created in an account by their tags, without a database."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from itertools import chain

from lfv.client.hosting import ensure_stopped
from lfv.client.hosts.calls import utc
from lfv.client.hosts.protocol import HostSpec, ModelHost
from lfv.client.hosts.sagemaker import account as tags
from lfv.client.hosts.sagemaker.account import Account
from lfv.client.hosts.sagemaker.batch import RUNNING, BatchJobHost
from lfv.client.hosts.sagemaker.host import SageMakerHost
from lfv.formats.host_kinds import BATCH_JOB, SAGEMAKER

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
    with closing(Account(endpoint_url, region)) as account:
        found: dict[str, TaggedEndpoint] = {}

        def add(
            name: str, status: str, marks: Mapping[str, str], created: object = None, *, job: bool
        ) -> None:
            project, run_id = marks.get(tags.PROJECT, ""), marks.get(tags.RUN, "")
            found[name] = TaggedEndpoint(name, status, project, run_id, utc(created), is_job=job)

        for entry, marks in account.ours("Endpoint", "list_endpoints", "Endpoints"):
            status = str(entry.get("EndpointStatus", ""))
            add(str(entry["EndpointName"]), status, marks, entry.get("CreationTime"), job=False)
        for status in sorted(RUNNING):
            jobs = account.ours(
                "TransformJob", "list_transform_jobs", "TransformJobSummaries", StatusEquals=status
            )
            for entry, marks in jobs:
                created = entry.get("CreationTime")
                add(str(entry["TransformJobName"]), "InProgress", marks, created, job=True)
        configs = account.ours("EndpointConfig", "list_endpoint_configs", "EndpointConfigs")
        for _, marks in chain(configs, account.ours("Model", "list_models", "Models")):
            name = marks.get(tags.ENDPOINT, "")
            if name and name not in found:
                add(name, GONE, marks, job=False)
        return sorted(found.values(), key=lambda one: one.name)


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
        spec = HostSpec(BATCH_JOB, project, version, endpoint_url, region, job)
        host = BatchJobHost(spec)
    else:
        options = {"endpoint_name": endpoint.name}
        host = SageMakerHost(HostSpec(SAGEMAKER, project, version, endpoint_url, region, options))
    with closing(host):
        ensure_stopped(host, "delete-unknown", timeout=timeout)
