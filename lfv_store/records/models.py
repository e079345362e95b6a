"""Models and trainings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from lfv_store.records.base import JsonObject


@dataclass(frozen=True, slots=True)
class ModelKey:
    """What identifies a model version.

    `host` is the kind of host ('lookoutvision', 'sagemaker', 'edge', ...). `created_at`
    distinguishes a deleted model from a new one with the same ARN.
    """

    host: str
    model_arn: str
    project_name: str
    model_version: str
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Model:
    """A registered model version."""

    model_id: int
    key: ModelKey
    facts: dict[str, Any]
    registered_at: datetime


@dataclass(frozen=True, slots=True)
class ModelPace:
    """The capacity found for a model: requests in flight at a number of inference units, and the
    latency of an answer in milliseconds."""

    in_flight: int
    inference_units: int
    latency_ms: float
    measured_at: datetime

    @property
    def images_per_second(self) -> float:
        """Answers per second at this capacity."""
        return self.in_flight * 1000.0 / self.latency_ms


@dataclass(frozen=True, slots=True)
class NewTraining:
    """How a model version was trained.

    `source` and `test_source` are the user's arguments; the digests (SHA-256, hex) are those of the
    manifests that the service read. `images` counts images by use or label, `figures` has
    precision, recall and similar, `remarks` are the training's warnings about the data.
    """

    model_id: int
    source: str
    trained_at: datetime
    trained_by: str = ""
    test_source: str | None = None
    manifest_sha256: str | None = None
    test_manifest_sha256: str | None = None
    images: JsonObject = field(default_factory=dict)
    figures: JsonObject = field(default_factory=dict)
    remarks: Sequence[str] = ()
    code_version: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Training(NewTraining):
    """A training as stored."""

    training_id: int
