"""From a model's answer to a verdict: accept, reject or review, and why.

The rules are the three of the Lookout for Vision developer guide ("Determining if an image is
anomalous"): a limit for the classification's confidence, a limit for the area that each anomaly
type may cover, and a limit for the number of anomaly types. A review band is added for answers that
are too unsure. docs/policies.md explains how to write a policy.

    reject     a rule fires (with `combine: all`, every given rule)
    review     no rejection, but an answer that is unsure, at odds with itself, or lacks figures
    accept     a normal answer that is sure enough, or an anomaly that the rules tolerate

Comparisons, exactly: a rule counts an anomalous answer from its `min_confidence` on (>=); an area
is too large above its limit (>); so is a number of types (>). A normal answer is unsure below
`normal_below` (<); an anomalous answer that no rule rejects, from `anomalous_from` on (>=).

If a policy sets no review band, version 2 reviews unsure answers: an anomalous answer that would be
rejected at a higher confidence, and a normal answer below the classification rule's confidence.
Version 1, used by policies that release 0.1.0 stored, accepts both.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    StrictStr,
    ValidationError,
    field_validator,
    model_validator,
)

from lfv.client.errors import PolicyError
from lfv.client.policy.parsing import parse_policy_text
from lfv.formats.answers import BACKGROUND

MAX_POLICY_BYTES = 256 * 1024
ANY_TYPE = "*"


def _no_bool(value: object) -> object:
    if isinstance(value, bool | str):
        raise ValueError("should be a number")  # noqa: TRY004 - pydantic reports ValueError
    return value


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False), BeforeValidator(_no_bool)]
LeastConfidence = Annotated[
    Fraction,
    Field(
        title="Confidence",
        description="Counts only for anomalous answers with at least this confidence.",
    ),
]


class ClassificationRule(_Part):
    """Rejects an anomalous answer with at least this confidence."""

    min_confidence: Fraction = Field(
        title="Confidence", description="Anomalous answers from this confidence are rejected."
    )


class CoverageRule(_Part):
    """Rejects when an anomaly type covers more of the image than its limit.

    `limits` maps anomaly types to fractions of the image's area; '*' stands for every type that
    is not named. Counts only for anomalous answers with at least `min_confidence`.
    """

    limits: dict[StrictStr, Fraction] = Field(min_length=1)
    min_confidence: LeastConfidence = 0.0

    @field_validator("limits", mode="before")
    @classmethod
    def _limits(cls, value: object) -> object:
        names = value if isinstance(value, Mapping) else ()
        # Stored policies may limit its other name, `normal`, which has no effect.
        if any(isinstance(name, str) and name.casefold() == BACKGROUND for name in names):
            raise ValueError("background is not an anomaly type and has no limit")
        return value

    def limit_for(self, name: str) -> float | None:
        return self.limits.get(name, self.limits.get(ANY_TYPE))


class TypesRule(_Part):
    """Rejects when more than `max_types` anomaly types are found, `background` not counted."""

    max_types: StrictInt = Field(ge=0, title="Anomaly types", description="How many are tolerated.")
    min_confidence: LeastConfidence = 0.0


class ReviewBand(_Part):
    """Which answers a person should review.

    With `normal_below` alone, all anomalous answers that no rule rejects are reviewed, so that a
    likelier defect is never treated more mildly.
    """

    normal_below: Fraction | None = Field(
        default=None,
        title="Normal below",
        description="Normal answers with less confidence are reviewed.",
    )
    anomalous_from: Fraction | None = Field(
        default=None,
        title="Anomalous from",
        description="Anomalous answers that no rule rejects are reviewed from this confidence.",
    )
    disagreement: StrictBool = Field(
        default=False,
        description="Review normal answers whose anomaly mask breaks a rule.",
    )

    @property
    def from_anomalous(self) -> float | None:
        if self.anomalous_from is None and self.normal_below is not None:
            return 0.0
        return self.anomalous_from


class Rules(_Part):
    """The rules for one class of product; at least one."""

    classification: ClassificationRule | None = None
    coverage: CoverageRule | None = None
    anomaly_types: TypesRule | None = None
    combine: Literal["any", "all"] = "any"
    review: ReviewBand = ReviewBand()

    @model_validator(mode="after")
    def _some_rule(self) -> Self:
        if not (self.classification or self.coverage or self.anomaly_types):
            raise ValueError("needs classification, coverage or anomaly_types")
        return self


class Policy(_Part):
    """Rules by class of product.

    `class_attribute` names the attribute of a manifest line that holds an item's class. `classes`
    maps classes to rules, which replace `default` entirely. For an item without a class, or with a
    class that has no rules, `default` applies; with `unknown_class: review` it is reviewed.
    """

    version: Literal[1, 2] = 2
    name: StrictStr = Field(default="", max_length=200)
    default: Rules
    class_attribute: StrictStr | None = Field(default=None, min_length=1)
    classes: dict[StrictStr, Rules] = Field(default_factory=dict)
    unknown_class: Literal["default", "review"] = "default"

    @model_validator(mode="after")
    def _classes_need_an_attribute(self) -> Self:
        if self.classes and self.class_attribute is None:
            raise ValueError("classes need class_attribute, the attribute with an item's class")
        return self

    @classmethod
    def from_confidence(cls, confidence: float) -> Policy:
        """Return a policy that rejects anomalous and accepts normal answers with at least this
        confidence, and reviews all others. Raises PolicyError."""
        return cls.from_dict(
            {
                "name": f"confidence {confidence:g}",
                "default": {"classification": {"min_confidence": confidence}},
            }
        )

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Policy:
        """Validate a policy. Raises PolicyError, which names every invalid field."""
        try:
            return cls.model_validate(value)
        except ValidationError as error:
            raise PolicyError(
                "The policy is invalid: " + "; ".join(_problems(error)) + "."
            ) from None

    @classmethod
    def parse(cls, text: str) -> Policy:
        """Parse a policy in YAML or JSON. Raises PolicyError."""
        if len(text.encode("utf-8", "replace")) > MAX_POLICY_BYTES:
            raise PolicyError(f"The policy is longer than {MAX_POLICY_BYTES:,} bytes.")
        return cls.from_dict(parse_policy_text(text))

    @classmethod
    def load(cls, path: Path) -> Policy:
        """Read a policy from a YAML or JSON file. Raises PolicyError."""
        try:
            with path.open("rb") as stream:
                data = stream.read(MAX_POLICY_BYTES + 1)
            text = data.decode("utf-8-sig")
        except OSError as error:
            raise PolicyError(f"The policy {path} cannot be read: {error.strerror}.") from error
        except UnicodeDecodeError as error:
            raise PolicyError(f"The policy {path} is not UTF-8 text.") from error
        try:
            return cls.parse(text)
        except PolicyError as error:
            raise PolicyError(f"{path}: {error}") from error

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values, defaults included; `from_dict` returns an equal policy."""
        return self.model_dump(mode="json")

    @property
    def digest(self) -> str:
        """SHA-256 in hex over canonical JSON; equal policies have equal digests.

        Defaults are left out, so that a field added later changes no digest.
        """
        written = self.model_dump(mode="json", exclude_defaults=True) | {"version": self.version}
        text = json.dumps(written, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def normal_below(self, rules: Rules) -> float | None:
        """Return the confidence below which a normal answer is reviewed; None for no review."""
        if rules.review.normal_below is None and self.reviews_unsure and rules.classification:
            return rules.classification.min_confidence
        return rules.review.normal_below

    @property
    def reviews_unsure(self) -> bool:
        """Whether unsure answers are reviewed by default, without a review band."""
        return self.version >= 2

    def rules_for(self, attributes: Mapping[str, Any]) -> Rules | None:
        """Return the rules for an item; None if it must be reviewed."""
        if self.class_attribute is None:
            return self.default
        value = attributes.get(self.class_attribute)
        if value is not None and not isinstance(value, dict | list):
            name = value if isinstance(value, str) else json.dumps(value)
            if name in self.classes:
                return self.classes[name]
        return self.default if self.unknown_class == "default" else None


def _problems(error: ValidationError) -> Iterator[str]:
    for wrong in error.errors(include_url=False):
        place = ".".join(str(part) for part in wrong["loc"] if part != "[key]") or "the whole"
        message = wrong["msg"].removeprefix("Value error, ").removeprefix("Input ")
        if wrong["type"] == "extra_forbidden":
            message = "is unknown"
        elif wrong["type"] == "missing":
            message = "is missing"
        given = wrong.get("input")
        shown = f" (got {given!r})" if isinstance(given, str | int | float | None) else ""
        yield f"{place} {message[0].lower()}{message[1:]}{shown if len(shown) < 80 else ''}"
