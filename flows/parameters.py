"""Structured parameters of runs, which the form on the Prefect page shows as fields.

They also accept the plain mappings of earlier deployments and of the command line, and pass unknown
members on, because policies and hosts validate their own.
"""

# No postponed annotations here: Prefect builds the form from them.

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from lfv.client.policy.rules import ClassificationRule, Fraction, LeastConfidence, ReviewBand
from lfv.client.policy.rules import TypesRule as PolicyTypesRule

#: The form of a list in deployments of earlier releases and on command lines.
_ByName = Field(title="By name, as JSON")


class _Fields(BaseModel):
    """Fields of a form. Empty fields are left out, unknown ones kept."""

    model_config = ConfigDict(extra="allow")

    def given(self) -> dict[str, Any]:
        """Return the values that were filled in."""
        return self.model_dump(mode="json", exclude_none=True, exclude_unset=True)


class ConfidenceRule(ClassificationRule, _Fields):
    """Rejects an anomalous answer with at least this confidence."""

    model_config = ConfigDict(title="By confidence")


class AreaLimit(_Fields):
    """The area that one anomaly type may cover."""

    model_config = ConfigDict(title="Limit")

    anomaly_type: str = Field(
        title="Anomaly type",
        min_length=1,
        description="Name of the anomaly type; * for all others.",
    )
    largest_area: Fraction = Field(
        title="Largest area", description="Share of the image it may cover, 0 to 1."
    )


class AreaRule(_Fields):
    """Rejects an image where an anomaly type covers more than its limit."""

    model_config = ConfigDict(title="By area")

    limits: list[AreaLimit] | Annotated[dict[str, Fraction], _ByName] = Field(
        description="One line for each anomaly type."
    )
    min_confidence: LeastConfidence = 0.0


class TypesRule(PolicyTypesRule, _Fields):
    """Rejects an image with more anomaly types than this."""

    model_config = ConfigDict(title="By number")


class ReviewRules(ReviewBand, _Fields):
    """Which answers a person reviews."""

    model_config = ConfigDict(title="Own limits")


class VerdictRules(_Fields):
    """What is rejected and what is reviewed; at least one of the three rules is needed."""

    model_config = ConfigDict(title="Rules")

    classification: ConfidenceRule | None = Field(default=None, title="Rule: confidence")
    coverage: AreaRule | None = Field(default=None, title="Rule: area")
    anomaly_types: TypesRule | None = Field(default=None, title="Rule: anomaly types")
    combine: Literal["any", "all"] = Field(
        default="any", description="Whether one rule is enough to reject, or all have to agree."
    )
    review: ReviewRules | None = Field(
        default=None, description="Empty: answers below the limit of the confidence rule."
    )


class ClassRules(VerdictRules):
    """Rules for one class of product, which replace the rules for all."""

    model_config = ConfigDict(title="Class")

    class_name: str = Field(
        title="Class", min_length=1, description="Value of the attribute that holds the class."
    )


class PolicyFields(_Fields):
    """A verdict policy: how the model's answers become verdicts."""

    model_config = ConfigDict(title="Policy")

    name: str = Field(default="", max_length=200, description="Name of this policy.")
    default: VerdictRules = Field(
        title="Rules", description="Rules for all images whose class has none of its own."
    )
    class_attribute: str | None = Field(
        default=None,
        title="Class attribute",
        description="Attribute of a manifest line that holds an item's class; empty: no classes.",
    )
    classes: list[ClassRules] | Annotated[dict[str, VerdictRules], _ByName] = Field(
        default=[], description="Rules for single classes; they need the class attribute."
    )
    unknown_class: Literal["default", "review"] = Field(
        default="default",
        title="Unknown class",
        description="Whether items of other classes follow the rules for all, or are reviewed.",
    )

    def policy(self) -> dict[str, Any]:
        """Return the policy in the form that `lfv.client.policy.Policy` reads."""
        found = self.given()
        if isinstance(classes := found.get("classes"), list):
            found["classes"] = _by_key(classes, "class_name")
        for rules in (found.get("default"), *(found.get("classes") or {}).values()):
            coverage = rules.get("coverage") if rules else None
            if coverage and isinstance(limits := coverage.get("limits"), list):
                named = _by_key(limits, "anomaly_type")
                coverage["limits"] = {name: one["largest_area"] for name, one in named.items()}
        return found


def _by_key(rows: list[dict[str, Any]], key: str) -> dict[str, dict[str, Any]]:
    """Return the rows by name. Raises ValueError if a name is given twice."""
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        name = row.pop(key)
        if name in found:
            raise ValueError(f"the policy has {name!r} twice")
        found[name] = row
    return found


class HostOptions(_Fields):
    """Options of single kinds of hosts."""

    model_config = ConfigDict(title="Options")

    instance_type: str | None = Field(
        default=None,
        title="SageMaker: instance type",
        description="Such as ml.m5.xlarge.",
    )
    role_arn: str | None = Field(
        default=None,
        title="SageMaker: execution role",
        description="ARN of the role that the endpoint or job runs as.",
    )
    endpoint_name: str | None = Field(
        default=None,
        title="SageMaker: endpoint",
        description="Name of an endpoint; empty: derived from project and model version.",
    )
    network_isolation: bool | None = Field(
        default=None,
        title="SageMaker: network isolation",
        description="Whether the model's container has no network; empty: it has none.",
    )
    shared_memory: bool | None = Field(
        default=None,
        title="Edge: shared memory",
        description="Whether an agent on the worker's machine reads pixels from shared memory.",
    )
    service: Literal["EdgeAgent", "InferenceServer"] | None = Field(
        default=None,
        title="Edge: gRPC service",
        description="InferenceServer for agents of the first release.",
    )
    anomaly_maps: bool | None = Field(
        default=None,
        title="Lookout for Vision: heat maps",
        description="Request a heat map with each answer of the embedded service.",
    )
    max_connections: int | None = Field(
        default=None,
        ge=1,
        title="Connections",
        description="Maximum number of connections.",
    )

    def options(self) -> dict[str, Any]:
        """Return the options by name, without empty ones."""
        return {name: value for name, value in self.given().items() if value != ""}
