"""The IAM actions of the code's calls, recorded in boto3."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from botocore.client import BaseClient

#: Actions whose names differ from the operation's (Service Authorization Reference).
_S3 = {"HeadObject": "GetObject", "ListObjectsV2": "ListBucket", "HeadBucket": "ListBucket"}
_SERVICES = {"sagemaker-runtime": "sagemaker"}
_ROLES = ("ExecutionRoleArn", "RoleArn")


@contextmanager
def recorded_actions(patch: pytest.MonkeyPatch) -> Iterator[set[str]]:
    """The actions of every call that is made through boto3 in this block, answered or refused."""
    found: set[str] = set()
    call = BaseClient._make_api_call

    def record(self: Any, operation_name: str, api_params: dict[str, Any]) -> Any:
        service = self.meta.service_model.service_name
        service = _SERVICES.get(service, service)
        name = _S3.get(operation_name, operation_name) if service == "s3" else operation_name
        found.add(f"{service}:{name}")
        if api_params.get("Tags"):
            found.add(f"{service}:AddTags")
        if any(api_params.get(role) for role in _ROLES):
            found.add("iam:PassRole")
        return call(self, operation_name, api_params)

    with patch.context() as patched:
        patched.setattr(BaseClient, "_make_api_call", record)
        yield found
