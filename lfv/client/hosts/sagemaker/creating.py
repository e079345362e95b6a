"""What is made for an endpoint or a batch job, under names that follow from its content."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from typing import Any

from lfv.client.errors import HostConflict, HostRejected
from lfv.client.hosts.sagemaker.account import Account
from lfv.client.hosts.sagemaker.source import ModelSource, look_up, package_training


def make_model(
    account: Account,
    source: ModelSource,
    owner: str,
    labels: list[dict[str, str]],
    *,
    role_arn: str,
    network_isolation: bool,
) -> str:
    """Name of the model to host: the existing one, or one made of the package for `owner`.

    `owner` is the endpoint or the job that it is for. Raises HostRejected without a role.
    """
    if source.kind == "model":
        return source.name
    if not role_arn:
        raise HostRejected(
            f"Hosting {source} needs the execution role of its model: give "
            "--host-option role_arn=ARN, or set LFV_HOST_OPTIONS.",
            operation="CreateModel",
        )
    facts = look_up(account, source)
    package = facts.package or package_training(account, source.name, facts)
    content = {
        "Containers": [{"ModelPackageName": package}],
        "ExecutionRoleArn": role_arn,
        "EnableNetworkIsolation": network_isolation,
    }
    return make_resource(account, "create_model", "ModelName", owner, content, labels)


def make_resource(
    account: Account,
    operation: str,
    member: str,
    owner: str,
    content: dict[str, Any],
    labels: list[dict[str, str]],
) -> str:
    """Name of a resource with this content: what a start before this one left is used."""
    name = f"{owner}-{digest(content)}"
    with suppress(HostConflict):  # it exists, and its name stands for its content
        account.call(operation, **{member: name}, **content, Tags=labels)
    return name


def digest(content: object) -> str:
    """Eight characters that stand for `content`."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:8]
