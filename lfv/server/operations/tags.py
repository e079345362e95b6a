"""TagResource, UntagResource, ListTagsForResource: tags of models, by their ARN."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from lfv.server.errors import QuotaExceededError, ValidationError
from lfv.server.operations.call import Call, Members
from lfv.server.state import models


def tag_resource(call: Call, members: Members) -> Members:
    model = models.by_arn(call.tx, members["ResourceArn"])
    new = as_dict(members["Tags"])
    check_count(call, {**models.tags(call.tx, model), **new})
    models.put_tags(call.tx, model, new)
    return {}


def untag_resource(call: Call, members: Members) -> Members:
    model = models.by_arn(call.tx, members["ResourceArn"])
    models.remove_tags(call.tx, model, members["TagKeys"])
    return {}


def list_tags_for_resource(call: Call, members: Members) -> Members:
    model = models.by_arn(call.tx, members["ResourceArn"])
    found = models.tags(call.tx, model)
    return {"Tags": [{"Key": key, "Value": value} for key, value in found.items()]}


def as_dict(tags: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Return tags as a dict. Raises ValidationError for a repeated key, or one reserved by AWS."""
    found: dict[str, str] = {}
    for tag in tags:
        key = tag["Key"]
        if key in found:
            raise ValidationError(f"the tag key {key!r} is given more than once")
        if key.lower().startswith("aws:"):
            raise ValidationError("a tag key may not begin with aws:")
        found[key] = tag["Value"]
    return found


def check_count(call: Call, tags: Mapping[str, str]) -> None:
    if len(tags) > call.limits.tags_per_model:
        raise QuotaExceededError(
            f"a model can have {call.limits.tags_per_model} tags at most", "tags-per-model"
        )
