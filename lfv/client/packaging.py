"""Packages a model version as a portable archive, by a packaging job of the service.

Calls StartModelPackagingJob, with the project's name as component, and waits for the job.
"""

from __future__ import annotations

import uuid
from functools import partial
from typing import Any

from lfv.client.clock import SYSTEM_CLOCK, Backoff, Clock
from lfv.client.errors import PackagingFailed
from lfv.client.hosts.calls import call, pages
from lfv.client.retry import RetryPolicy, call_with_retries
from lfv.client.staging import Staging
from lfv.formats.refs import S3Ref

_LONGEST_COMPONENT = 128
_POLL = Backoff(0.1, 1.5, 5.0)


def package_model(
    client: Any,
    project: str,
    version: str,
    staging: Staging,
    *,
    timeout: float,
    clock: Clock = SYSTEM_CLOCK,
) -> S3Ref:
    """Package a model version, and return where the service has written its archive.

    `client` is a client from `lookoutvision_client`. The archive is in `packages/` under the prefix
    of `staging`. `timeout` limits the waiting, in seconds. Raises PackagingFailed and HostError.
    """

    def operate(operation: str, **arguments: Any) -> Any:
        once = partial(call, client, operation, ProjectName=project, **arguments)
        return call_with_retries(once, RetryPolicy(), clock=clock)[0]

    # A component has each version once, so a model that is packaged again gets the next one.
    jobs = pages(operate, "ListModelPackagingJobs", "ModelPackagingJobs")
    earlier = sum(job["ModelVersion"] == version for job in jobs)
    component = project[:_LONGEST_COMPONENT], f"{version}.0.{earlier}"
    prefix = staging.key("packages/")
    started = operate(
        "StartModelPackagingJob",
        ModelVersion=version,
        Configuration={
            "Greengrass": {
                "S3OutputLocation": {"Bucket": staging.bucket, "Prefix": prefix},
                "ComponentName": component[0],
                "ComponentVersion": component[1],
            }
        },
        ClientToken=uuid.uuid4().hex,
    )
    deadline = clock.monotonic() + timeout
    looks = 0
    while True:
        answer = operate("DescribeModelPackagingJob", JobName=started["JobName"])
        job = answer["ModelPackagingDescription"]
        if job["Status"] == "SUCCEEDED":
            return S3Ref(staging.bucket, f"{prefix}{'-'.join(component)}.zip")
        if job["Status"] == "FAILED":
            raise PackagingFailed(job.get("StatusMessage") or "The service gives no reason.")
        if clock.monotonic() >= deadline:
            raise PackagingFailed(
                f"Packaging job {started['JobName']} is not done within {timeout:g} s; it "
                "continues in the service."
            )
        looks += 1
        clock.wait(_POLL.seconds(looks))
