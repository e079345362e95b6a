"""Creates the parts of an endpoint or batch job, under names derived from their content."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from lfv.client.errors import HostConflict, HostRejected
from lfv.client.hosts.sagemaker.account import Account
from lfv.client.hosts.sagemaker.source import ModelSource, look_up, package_training


@dataclass(frozen=True)
class ModelOptions:
    """The options in `HostSpec.options` of an endpoint or job; time limits are in seconds.

    `role_arn` is the model's execution role, required unless an existing model or endpoint is used.
    """

    instance_type: str = "ml.c5.2xlarge"
    role_arn: str = ""
    network_isolation: bool = True
    connect_timeout: float = 5.0
    control_timeout: float = 15.0


def make_model(
    account: Account,
    source: ModelSource,
    owner: str,
    labels: list[dict[str, str]],
    options: ModelOptions,
) -> str:
    """Return the name of the model to host, creating it from its package if needed.

    `owner` is the endpoint or job that needs the model. Raises HostRejected if a model has to be
    created without a role, and HostError.
    """
    if source.kind == "model":
        return source.name
    check_role(source, options.role_arn)
    facts = look_up(account, source)
    package = facts.package or package_training(account, source.name, facts)
    content = {
        "Containers": [{"ModelPackageName": package}],
        "ExecutionRoleArn": options.role_arn,
        "EnableNetworkIsolation": options.network_isolation,
    }
    return make_resource(account, "create_model", "ModelName", owner, content, labels)


def check_role(source: ModelSource, role_arn: str) -> None:
    """Raise HostRejected if a model has to be created from `source`, and there is no role."""
    if source.kind != "model" and not role_arn:
        raise HostRejected(
            f"Hosting {source} needs the execution role of its model: give "
            "--host-option role_arn=ARN, or set LFV_HOST_OPTIONS.",
            operation="CreateModel",
        )


def make_resource(
    account: Account,
    operation: str,
    member: str,
    owner: str,
    content: dict[str, Any],
    labels: list[dict[str, str]],
) -> str:
    """Create a resource, or reuse one with the same content from an earlier start.

    Returns its name. Raises HostError.
    """
    name = f"{owner}-{digest(content)}"
    with suppress(HostConflict):  # it exists, and the same name means the same content
        account.call(operation, **{member: name}, **content, Tags=labels)
    return name


def digest(content: object) -> str:
    """Return the first eight hex digits of the SHA-256 of `content` as JSON."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:8]
