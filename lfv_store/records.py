"""The store's value types. All datetimes are aware; those returned are in UTC."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, fields
from datetime import datetime
from typing import Any, Literal

JsonObject = Mapping[str, Any]
VerdictName = Literal["accept", "reject", "review"]
RunStatus = Literal["running", "completed", "failed", "cancelled", "crashed", "interrupted"]
HostingStatus = Literal["requested", "hosted", "stop_requested", "stopped", "left"]

VERDICTS: tuple[VerdictName, ...] = ("accept", "reject", "review")
RUN_STATUSES: tuple[RunStatus, ...] = (
    "running",
    "completed",
    "failed",
    "cancelled",
    "crashed",
    "interrupted",  # ended cleanly by a limit before all lines were inspected; can be resumed
)
HOSTING_STATUSES: tuple[HostingStatus, ...] = (
    "requested",  # the intent is committed; StartModel may or may not have been called
    "hosted",
    "stop_requested",  # StopModel is due; live leases remain only after a forced stop
    "stopped",
    "left",  # started outside lfv; released and left running
)


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


@dataclass(frozen=True, slots=True)
class NewRun:
    """A run to start. `run_id` is a UUID string chosen by the caller."""

    run_id: str
    project_name: str
    model_version: str
    host: str
    source: str
    policy: JsonObject
    started_at: datetime
    model_id: int | None = None
    triggered_by: str = ""
    flow_run_id: str | None = None
    code_version: str = ""
    parameters: JsonObject = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run(NewRun):
    """A run as stored.

    `skipped` counts the source's files that were not inspected, by reason. It is None until the
    source is listed, and for runs of release 0.1.0.
    """

    policy_sha256: str
    skipped: dict[str, int] | None
    status: RunStatus
    message: str | None
    manifest_sha256: str | None
    manifest_lines: int | None
    planned_through: int
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class RunCounts:
    """A run's lines by current verdict; `total` = inspected + pending."""

    total: int
    accepted: int
    rejected: int
    review: int
    errors: int
    reused: int
    pending: int

    @property
    def inspected(self) -> int:
        """Lines that have an inspection record."""
        return self.accepted + self.rejected + self.review + self.errors


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """Facts about an image's bytes. `sha256` is lower-case hex; sizes are in pixels and bytes."""

    sha256: str
    format: str
    width: int
    height: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Line:
    """What a manifest says about an image: its reference, its attributes, its label and mask."""

    line_number: int
    source_ref: str
    _: KW_ONLY
    attributes: JsonObject = field(default_factory=dict)
    expected_is_anomalous: bool | None = None
    expected_mask_ref: str | None = None


LINE_FIELDS = tuple(member.name for member in fields(Line))


@dataclass(frozen=True, slots=True)
class PendingItem(Line):
    """A manifest line that waits for an answer.

    `duplicate`: an earlier pending line of this run has the same bytes and supplies the answer.
    """

    image: ImageFacts
    duplicate: bool = False

    def inspected(self, at: datetime, **outcome: Any) -> NewInspection:
        """Return the record of this line; `outcome` has further fields of NewInspection."""
        line = {name: getattr(self, name) for name in LINE_FIELDS}
        return NewInspection(**line, inspected_at=at, image=self.image, **outcome)


@dataclass(frozen=True, slots=True)
class NewDetection:
    """A model's answer to an image. `response` is the JSON as received, without the mask."""

    model_id: int
    image_sha256: str
    response: JsonObject
    detected_at: datetime
    mask_png: bytes | None = None
    request_id: str | None = None
    latency_ms: float | None = None


@dataclass(frozen=True, slots=True)
class KnownDetection:
    """A model's newest stored answer to an image, which may be reused.

    Without the mask, on which no verdict depends.
    """

    detection_id: int
    image_sha256: str
    response: dict[str, Any]


@dataclass(frozen=True, slots=True)
class NewInspection(Line):
    """The outcome of one manifest line: a verdict on a detection, or an error.

    `detection` is a new answer, the id of a stored one (then `reused` is true), or None if the line
    has an error. Exactly one of `verdict` and `error_code` is set.
    """

    inspected_at: datetime
    image: ImageFacts | None = None
    detection: NewDetection | int | None = None
    reused: bool = False
    verdict: VerdictName | None = None
    reasons: tuple[JsonObject, ...] | list[JsonObject] = ()
    error_code: str | None = None
    error_message: str | None = None
    attempts: int = 1


@dataclass(frozen=True, slots=True)
class StoredDetection:
    """An inspection of a run with the answer behind it and its current verdict."""

    inspection_id: int
    line_number: int
    source_ref: str
    image_sha256: str
    response: dict[str, Any]
    attributes: dict[str, Any]
    expected_is_anomalous: bool | None
    expected_mask_ref: str | None
    verdict: VerdictName
    detection_id: int
    has_mask: bool


@dataclass(frozen=True, slots=True)
class NewVerdict:
    """A new verdict for a stored inspection."""

    inspection_id: int
    verdict: VerdictName
    reasons: tuple[JsonObject, ...] | list[JsonObject] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """A policy applied to a whole run. Number 1 is the policy that the run started with."""

    run_id: str
    number: int
    policy: dict[str, Any]
    policy_sha256: str
    decided_by: str
    decided_at: datetime
    verdicts: int
    current: bool
    reason: str = ""
    signature: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class VerdictHistory:
    """A verdict on an inspection, with the number of the decision that gave it."""

    decision: int
    verdict: VerdictName
    reasons: list[dict[str, Any]]
    policy_sha256: str
    decided_by: str
    decided_at: datetime
    current: bool


@dataclass(frozen=True, slots=True)
class Hosting:
    """A period for which a model is up. `owned` if lfv started it, so that lfv has to stop it."""

    hosting_id: int
    model_id: int
    status: HostingStatus
    owned: bool
    client_token: str
    host_spec: dict[str, Any]
    min_units: int
    max_units: int | None
    price_per_unit_hour: float
    requested_by: str
    requested_at: datetime
    hosted_at: datetime | None
    stop_requested_at: datetime | None
    stopped_at: datetime | None
    message: str | None
    stop_attempts: int
    stop_error: str | None
    live_leases: int

    @property
    def is_over(self) -> bool:
        """Whether the model was seen stopped, or was left running for its owner."""
        return self.status in ("stopped", "left")

    @property
    def is_ending(self) -> bool:
        """Whether the model is stopped or is to stop."""
        return self.status == "stop_requested" or self.is_over


@dataclass(frozen=True, slots=True)
class Lease:
    """A run's claim on a hosting.

    `must_start`: the holder must call StartModel with `client_token`.
    `owned`: False for a model started outside lfv, which is used and never stopped.
    """

    lease_id: int
    hosting_id: int
    client_token: str
    must_start: bool
    owned: bool
    hosting_status: HostingStatus
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Throughput:
    """A model's past performance: images answered in so many paid seconds of one inference unit."""

    images: int
    unit_seconds: float


@dataclass(frozen=True, slots=True)
class HostingCost:
    """The cost so far of a hosting, or of a run's share: seconds, and money in the price's unit."""

    paid_seconds: float
    idle_seconds: float
    cost: float
    images: int
