"""Lists the projects and model versions of a host."""

from __future__ import annotations

import logging
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any

from lfv.client.api import lookoutvision_client
from lfv.client.hosts.calls import FAILURES, call, client_config, pages, translate, utc
from lfv.client.hosts.sagemaker.models import trained_jobs
from lfv.formats.host_kinds import EDGE, LOOKOUTVISION, SAGEMAKER
from lfv.formats.status import ModelStatus
from lfv.formats.training_request import TrainingRequest

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ModelEntry:
    """A model version. Measures are fractions from 0 to 1, None if the host reports none.

    `training` has the options of its training, None if they are not known.
    """

    project: str
    version: str
    status: str
    message: str = ""
    description: str = ""
    model_arn: str = ""
    created_at: datetime | None = None
    f1: float | None = None
    precision: float | None = None
    recall: float | None = None
    training: TrainingRequest | None = None

    @property
    def is_up(self) -> bool:
        """Whether hosting is billed; False for an unknown status."""
        return any(self.status == status for status in ModelStatus if status.is_up)


def model_entries(
    endpoint_url: str | None,
    region: str | None = None,
    *,
    project: str | None = None,
    host: str = LOOKOUTVISION,
    with_training: bool = False,
) -> list[ModelEntry]:
    """List the model versions of `project`, or of all projects.

    `host` is the kind of host; with `endpoint_url` None, its usual endpoint is used. Versions of
    Lookout for Vision are sorted by project, the newest first. `with_training` also reads the
    options of their trainings there, with one request for each version. Raises HostError.
    """
    if host == EDGE:
        from lfv.client.hosts.edge.host import agent_models  # protobuf's import takes 20 ms

        return [
            ModelEntry(one.project, one.version, one.status, one.message, model_arn=one.model_arn)
            for one in agent_models(endpoint_url)
            if project in {None, one.project}
        ]
    if host == SAGEMAKER:
        return [
            ModelEntry(
                job.project, job.version, job.status, model_arn=job.arn, created_at=job.created_at
            )
            for job in trained_jobs(endpoint_url, region, project=project)
        ]
    where = endpoint_url or "Amazon Lookout for Vision"
    try:
        client = lookoutvision_client(endpoint_url, region, config=client_config())
    except FAILURES as error:
        raise translate(error, "A request", where) from error
    with closing(client):
        listed = partial(pages, partial(call, client, where=where))
        if project is None:
            names = [str(one["ProjectName"]) for one in listed("ListProjects", "Projects")]
        else:
            names = [project]
        entries = []
        for name in sorted(names):
            models = listed("ListModels", "Models", ProjectName=name)
            entries += sorted((_entry(name, model) for model in models), key=_age, reverse=True)
        if with_training:
            entries = [replace(one, training=_training(client, one.model_arn)) for one in entries]
        return entries


def _training(client: Any, model_arn: str) -> TrainingRequest | None:
    """Read the options of a training from a model's tags."""
    if not model_arn:
        return None
    try:
        tags = client.list_tags_for_resource(ResourceArn=model_arn).get("Tags", ())
        return TrainingRequest.from_tags({tag["Key"]: tag["Value"] for tag in tags})
    except (*FAILURES, ValueError) as error:  # such as a role that may not read tags
        logger.info("the options with which %s was trained are not known: %s", model_arn, error)
        return None


def _entry(project: str, model: dict[str, Any]) -> ModelEntry:
    performance = model.get("Performance") or {}
    return ModelEntry(
        project=project,
        version=str(model.get("ModelVersion", "")),
        status=str(model.get("Status", "")),
        message=str(model.get("StatusMessage") or ""),
        description=str(model.get("Description") or ""),
        model_arn=str(model.get("ModelArn") or ""),
        created_at=utc(model.get("CreationTimestamp")),
        f1=performance.get("F1Score"),
        precision=performance.get("Precision"),
        recall=performance.get("Recall"),
    )


def _age(entry: ModelEntry) -> tuple[float, int]:
    created = entry.created_at.timestamp() if entry.created_at else 0.0
    return created, int(entry.version) if entry.version.isdecimal() else 0
