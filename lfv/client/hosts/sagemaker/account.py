"""The control plane of one account and region: endpoints, configurations, models, and their tags.

Every resource that lfv creates has tags. With them, leftovers are found without a database
(`lfv sweep --account`), and resources of others are never deleted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from lfv.client.api.client import aws_client
from lfv.client.errors import ModelNotFound
from lfv.client.hosts.calls import FAILURES, client_config, pages, utc
from lfv.client.hosts.sagemaker.failures import control_failure
from lfv.formats.status import ModelStatus

CREATED_BY = "lfv:created-by"
CREATOR = "lfv"
ENDPOINT = "lfv:endpoint"
HOSTING = "lfv:hosting"
PROJECT = "lfv:project"
RUN = "lfv:run"
DEFAULT_WHERE = "Amazon SageMaker"

#: Model status by EndpointStatus. An existing endpoint costs money even if it cannot answer.
STATUSES: Mapping[str, ModelStatus] = {
    "Creating": ModelStatus.STARTING_HOSTING,
    "InService": ModelStatus.HOSTED,
    "Updating": ModelStatus.SYSTEM_UPDATING,
    "SystemUpdating": ModelStatus.SYSTEM_UPDATING,
    "RollingBack": ModelStatus.SYSTEM_UPDATING,
    "Deleting": ModelStatus.STOPPING_HOSTING,
    "Failed": ModelStatus.HOSTING_FAILED,
    "OutOfService": ModelStatus.HOSTING_FAILED,
    "UpdateRollbackFailed": ModelStatus.HOSTING_FAILED,
}


@dataclass(frozen=True)
class EndpointFacts:
    """An endpoint as DescribeEndpoint reports it; `status` is its EndpointStatus."""

    name: str
    arn: str
    status: str
    config_name: str
    created_at: datetime | None = None
    failure: str = ""
    instances: int | None = None

    @property
    def model_status(self) -> ModelStatus:
        """The model's status; an unknown EndpointStatus counts as one that costs money."""
        return STATUSES.get(self.status, ModelStatus.SYSTEM_UPDATING)


@dataclass
class Account:
    """Calls to the control plane; every error is one of `lfv.client.errors`."""

    endpoint_url: str | None
    region: str | None
    connect_timeout: float = 5.0
    read_timeout: float = 15.0
    _client: Any = field(default=None, init=False)

    def __post_init__(self) -> None:
        config = client_config(
            max_connections=10,
            connect_timeout=self.connect_timeout,
            read_timeout=self.read_timeout,
        )
        try:
            self._client = aws_client("sagemaker", self.endpoint_url, self.region, config=config)
        except FAILURES as error:
            raise control_failure(error, "A request", self.where) from error

    @property
    def region_name(self) -> str:
        """The region that calls go to."""
        return str(self._client.meta.region_name)

    @property
    def where(self) -> str:
        """The service's name or address, for messages."""
        return self.endpoint_url or DEFAULT_WHERE

    def call(self, operation: str, **arguments: Any) -> dict[str, Any]:
        """Call an operation by its boto3 name, such as `describe_endpoint`."""
        name = "".join(word.capitalize() for word in operation.split("_"))
        try:
            answer: dict[str, Any] = getattr(self._client, operation)(**arguments)
        except FAILURES as error:
            raise control_failure(error, name, self.where) from error
        return answer

    def pages(self, operation: str, member: str, **arguments: Any) -> Iterator[dict[str, Any]]:
        """Yield the entries of a list operation, page by page."""
        return pages(self.call, operation, member, **arguments)

    def endpoint(self, name: str) -> EndpointFacts | None:
        """Return an endpoint, or None if it does not exist."""
        try:
            found = self.call("describe_endpoint", EndpointName=name)
        except ModelNotFound:
            return None
        variants = found.get("ProductionVariants") or [{}]
        return EndpointFacts(
            name=name,
            arn=str(found.get("EndpointArn", "")),
            status=str(found.get("EndpointStatus", "")),
            config_name=str(found.get("EndpointConfigName", "")),
            created_at=utc(found.get("CreationTime")),
            failure=str(found.get("FailureReason") or ""),
            instances=variants[0].get("CurrentInstanceCount")
            or variants[0].get("DesiredInstanceCount"),
        )

    def tags(self, arn: str) -> dict[str, str]:
        """Return the tags of a resource; none if it no longer exists."""
        try:
            found = self.pages("list_tags", "Tags", ResourceArn=arn)
            return {str(tag["Key"]): str(tag["Value"]) for tag in found}
        except ModelNotFound:
            return {}

    def ours(
        self, kind: str, operation: str, member: str, **arguments: Any
    ) -> Iterator[tuple[dict[str, Any], dict[str, str]]]:
        """Yield the entries of a list operation that lfv created, each with its tags.

        `kind` is the resource's name in the entries' members, such as `Endpoint` in `EndpointArn`.
        """
        for entry in self.pages(operation, member, **arguments):
            tags = self.tags(str(entry[f"{kind}Arn"]))
            if tags.get(CREATED_BY) == CREATOR:
                yield entry, tags

    def is_ours(self, arn: str) -> bool:
        """Whether lfv created a resource."""
        return self.tags(arn).get(CREATED_BY) == CREATOR

    def leftovers(self, endpoint_name: str, *, of_job: bool = False) -> list[tuple[str, str]]:
        """List (kind, name) of configurations and models that lfv created for an endpoint.

        A batch job, which is named instead with `of_job`, has a model only.
        """
        found = []
        kinds = [("Model", "list_models", "Models")]
        if not of_job:
            kinds.insert(0, ("EndpointConfig", "list_endpoint_configs", "EndpointConfigs"))
        for kind, operation, member in kinds:
            for entry in self.pages(operation, member, NameContains=endpoint_name):
                name, arn = str(entry[f"{kind}Name"]), str(entry[f"{kind}Arn"])
                if name.startswith(f"{endpoint_name}-") and self._is_made_for(arn, endpoint_name):
                    found.append((kind, name))
        return found

    def _is_made_for(self, arn: str, endpoint_name: str) -> bool:
        tags = self.tags(arn)
        return tags.get(CREATED_BY) == CREATOR and tags.get(ENDPOINT) == endpoint_name

    def delete_leftovers(self, endpoint_name: str, *, of_job: bool = False) -> None:
        """Delete what lfv created for an endpoint: its configurations, then its models."""
        for kind, name in self.leftovers(endpoint_name, of_job=of_job):
            try:
                if kind == "EndpointConfig":
                    self.call("delete_endpoint_config", EndpointConfigName=name)
                else:
                    self.call("delete_model", ModelName=name)
            except ModelNotFound:
                continue  # already deleted by someone else

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def hosting_tags(owner: str, project: str, client_token: str, run_id: str) -> list[dict[str, str]]:
    """Return the tags of everything that is created for an endpoint or job, its `owner`."""
    run = {RUN: run_id} if run_id else {}
    return tag_list(
        {
            CREATED_BY: CREATOR,
            ENDPOINT: owner,
            HOSTING: client_token[:256],
            PROJECT: project,
            **run,
        }
    )


def tag_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """Convert tags to the API's form."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]
