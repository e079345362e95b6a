"""The frozen dataclasses that cross the store's border. All datetimes are aware; answers in UTC."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
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
    "interrupted",  # ended in good order before all was inspected (a limit); may be resumed
)
HOSTING_STATUSES: tuple[HostingStatus, ...] = (
    "requested",  # intent committed; StartModel may or may not have been called
    "hosted",
    "stop_requested",  # StopModel is due until the model is seen stopped; leases only after a force
    "stopped",
    "left",  # a model somebody else started; we released it and left it running
)


@dataclass(frozen=True, slots=True)
class ModelKey:
    """What makes a model version one and the same: the store's idea of identity.

    `host` is the kind of place it lives in ('lookoutvision', 'sagemaker', 'edge', ...).
    `created_at` distinguishes two models that had the same ARN one after the other.
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
    """What a model was found to take: requests in flight with so many inference units, and the
    milliseconds of an answer then."""

    in_flight: int
    inference_units: int
    latency_ms: float
    measured_at: datetime

    @property
    def images_per_second(self) -> float:
        """Answers per second with that many requests in flight."""
        return self.in_flight * 1000.0 / self.latency_ms


@dataclass(frozen=True, slots=True)
class NewTraining:
    """How a model version was trained.

    `source` and `test_source` are what the user named, the digests (SHA-256, hex) those of the
    manifests that the service read. `images` has numbers of images by their use or label, `figures`
    precision, recall and the like, `remarks` what the training noticed about the data.
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
    remarks: tuple[str, ...] = ()
    code_version: str = ""


@dataclass(frozen=True, slots=True)
class Training:
    """A training as stored."""

    training_id: int
    model_id: int
    source: str
    test_source: str | None
    manifest_sha256: str | None
    test_manifest_sha256: str | None
    images: dict[str, Any]
    figures: dict[str, Any]
    remarks: list[str]
    trained_by: str
    trained_at: datetime
    code_version: str


@dataclass(frozen=True, slots=True)
class NewRun:
    """A run as it is begun. `run_id` is a UUID string chosen by the caller."""

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


@dataclass(frozen=True, slots=True)
class Run:
    """A run as stored.

    `skipped` is the number of files of its source that were not inspected, by reason; None until
    the source is listed, and for runs of release 0.1.0.
    """

    run_id: str
    model_id: int | None
    project_name: str
    model_version: str
    host: str
    source: str
    policy: dict[str, Any]
    policy_sha256: str
    triggered_by: str
    flow_run_id: str | None
    code_version: str
    parameters: dict[str, Any]
    skipped: dict[str, int] | None
    status: RunStatus
    message: str | None
    manifest_sha256: str | None
    manifest_lines: int | None
    planned_through: int
    started_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class RunCounts:
    """How the lines of a run stand: `total` = inspected + pending, by the current verdicts."""

    total: int
    accepted: int
    rejected: int
    review: int
    errors: int
    reused: int
    pending: int

    @property
    def inspected(self) -> int:
        """Lines that have their one inspection record."""
        return self.accepted + self.rejected + self.review + self.errors


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """What is known of an image's bytes. `sha256` is lower-case hex; sizes in pixels and bytes."""

    sha256: str
    format: str
    width: int
    height: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class PendingItem:
    """A manifest line that is still to be asked about.

    `duplicate`: an earlier pending line of this run has the same bytes; ask once, reuse the answer.
    """

    line_number: int
    source_ref: str
    image: ImageFacts
    attributes: JsonObject = field(default_factory=dict)
    expected_is_anomalous: bool | None = None
    expected_mask_ref: str | None = None
    duplicate: bool = False


@dataclass(frozen=True, slots=True)
class NewDetection:
    """What the model said about some bytes. `response` is the wire JSON without the mask bytes."""

    model_id: int
    image_sha256: str
    response: JsonObject
    detected_at: datetime
    mask_png: bytes | None = None
    request_id: str | None = None
    latency_ms: float | None = None


@dataclass(frozen=True, slots=True)
class KnownDetection:
    """A stored detection that may be reused: the newest of a model for some bytes."""

    detection_id: int
    model_id: int
    image_sha256: str
    response: dict[str, Any]
    mask_png: bytes | None
    request_id: str | None
    latency_ms: float | None
    detected_at: datetime


@dataclass(frozen=True, slots=True)
class NewInspection:
    """The outcome of one manifest line: a verdict on a detection, or an error that says why not.

    `detection` is a new answer, the id of a stored one (`reused` is then true), or None with an
    error. Exactly one of `verdict` and `error_code` is set.
    """

    line_number: int
    source_ref: str
    inspected_at: datetime
    image: ImageFacts | None = None
    detection: NewDetection | int | None = None
    reused: bool = False
    verdict: VerdictName | None = None
    reasons: tuple[JsonObject, ...] | list[JsonObject] = ()
    error_code: str | None = None
    error_message: str | None = None
    attempts: int = 1
    attributes: JsonObject = field(default_factory=dict)
    expected_is_anomalous: bool | None = None
    expected_mask_ref: str | None = None


@dataclass(frozen=True, slots=True)
class RecordCounts:
    """What a call of record() or plan() stored; `existing` lines had their record already."""

    inspections: int
    detections: int
    existing: int


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
    """A verdict derived again for a stored inspection."""

    inspection_id: int
    verdict: VerdictName
    reasons: tuple[JsonObject, ...] | list[JsonObject] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """A policy applied to a whole run. Number 1 is the run's own policy, while recording."""

    run_id: str
    number: int
    policy: dict[str, Any]
    policy_sha256: str
    decided_by: str
    decided_at: datetime
    verdicts: int
    current: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class VerdictHistory:
    """One of the verdicts that an inspection got, by the number of the decision it is from."""

    decision: int
    verdict: VerdictName
    reasons: list[dict[str, Any]]
    policy_sha256: str
    decided_by: str
    decided_at: datetime
    current: bool


@dataclass(frozen=True, slots=True)
class Hosting:
    """One period for which a model is up on our account (`owned`) or somebody else's."""

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
        """Whether the model was seen stopped, or was left to who started it."""
        return self.status in ("stopped", "left")

    @property
    def is_ending(self) -> bool:
        """Whether the model is to be down, or is."""
        return self.status == "stop_requested" or self.is_over


@dataclass(frozen=True, slots=True)
class Lease:
    """A run's claim on a hosting.

    `must_start`: this lease's holder is the one to call StartModel, with `client_token`.
    `owned`: False for a model somebody else started: use it, never stop it.
    """

    lease_id: int
    hosting_id: int
    client_token: str
    must_start: bool
    owned: bool
    hosting_status: HostingStatus
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Release:
    """The end of a lease. `must_stop`: nobody is left, the caller is to stop the model now."""

    hosting_id: int
    must_stop: bool
    host_spec: dict[str, Any]
    client_token: str


@dataclass(frozen=True, slots=True)
class Throughput:
    """What a model did in past hostings: images answered in `hosted_seconds` of paid time."""

    images: int
    hosted_seconds: float
    hostings: int
    unit_seconds: float

    @property
    def images_per_second(self) -> float | None:
        """Images per hosted second, idle time included; None without history."""
        return self.images / self.hosted_seconds if self.hosted_seconds > 0 else None


@dataclass(frozen=True, slots=True)
class HostingCost:
    """What a hosting costs so far, or a run's share of it: seconds, and the price's money."""

    paid_seconds: float
    idle_seconds: float
    cost: float
    images: int
