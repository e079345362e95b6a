"""What the report of a run shows, as plain values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from lfv.formats.mistakes import Mistake, mistake_of

if TYPE_CHECKING:
    from lfv.formats.evaluation import Evaluation


@dataclass(frozen=True)
class ReportAnomaly:
    """One anomaly type on an image, without the background.

    `area` is its share of the image, 0 to 1; `color` is ``#RRGGBB`` as in the mask.
    """

    name: str
    area: float
    color: str | None = None


@dataclass(frozen=True)
class ReportImage:
    """One inspected line; `verdict` is accept, reject or review, None with an error.

    `reviewed` is a person's verdict, if one reviewed the part. `confidence` is confidence in
    `is_anomalous`, 0 to 1. `read` returns the image's bytes for a thumbnail; it is called at most
    once, from any thread, and if it raises there is no thumbnail.
    """

    line_number: int
    source_ref: str
    verdict: str | None = None
    reasons: Sequence[str] = ()
    is_anomalous: bool | None = None
    confidence: float | None = None
    anomalies: Sequence[ReportAnomaly] = ()
    expected_is_anomalous: bool | None = None
    reviewed: str | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    reused: bool = False
    error_code: str | None = None
    error_message: str | None = None
    read: Callable[[], bytes] | None = None
    mask_png: bytes | None = None

    @property
    def mistake(self) -> Mistake | None:
        """Whether the verdict is an escape or a false alarm; None if neither, or unknown."""
        return mistake_of(self.verdict, self.reviewed, self.expected_is_anomalous)

    @property
    def area(self) -> float:
        """The share of the image that all anomaly types cover together, 0 to 1."""
        return sum(anomaly.area for anomaly in self.anomalies)


@dataclass(frozen=True)
class ReportCounts:
    """All lines of the run; `pending` are those that an unfinished run has not inspected yet."""

    total: int
    accepted: int
    rejected: int
    review: int
    errors: int
    reused: int = 0
    pending: int = 0

    @property
    def defect_rate(self) -> float | None:
        """Rejected images as a share of those with a verdict."""
        judged = self.accepted + self.rejected + self.review
        return self.rejected / judged if judged else None


@dataclass(frozen=True)
class ReportAnswer:
    """The model's answer for one image, or several `images`, and the verdict."""

    is_anomalous: bool
    confidence: float
    verdict: str
    images: int = 1


@dataclass(frozen=True)
class ReportLimit:
    """A limit of the policy: a confidence in one of the two answers, and what it decides."""

    is_anomalous: bool
    confidence: float
    label: str


@dataclass(frozen=True)
class ReportType:
    """An anomaly type and the number of images it was found on."""

    name: str
    images: int
    color: str | None = None


@dataclass(frozen=True)
class ReportAudit:
    """The end of the audit log when the report was made: its length and its last hash."""

    entries: int
    head: str


@dataclass(frozen=True)
class ReportHosting:
    """The period in which the model was hosted, and its cost; times in seconds, cost in USD.

    `started_here` is False if somebody else had started it: it was used and left running.
    """

    started_here: bool
    inference_units: int | None = None
    requested_at: datetime | None = None
    hosted_at: datetime | None = None
    stopped_at: datetime | None = None
    paid_seconds: float | None = None
    idle_seconds: float | None = None
    price_per_unit_hour: float | None = None
    cost: float | None = None


@dataclass(frozen=True)
class RunReport:
    """A whole report.

    The sequences of images may be cut short: `counts`, `escapes` and `false_alarms` say how many
    there are. `escaped` are accepted images that are labelled anomalous (see
    ReportImage.mistake); they are not in `accepted`.
    `answers` and `types` are complete. `notes` are remarks of one sentence each. `database_url`
    must have its password hidden. `facts` are further facts about the run (name to value).
    `approval` says who approved the model version, if the run took it for that reason. `made_at`
    is the time of the counts, which include `reviewed` reviewed images.
    """

    run_id: str
    project: str
    model_version: str
    host: str
    source: str
    status: str
    counts: ReportCounts
    message: str | None = None
    approval: str | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    triggered_by: str | None = None
    flow_run_id: str | None = None
    code_version: str | None = None
    manifest_sha256: str | None = None
    escaped: Sequence[ReportImage] = ()
    review: Sequence[ReportImage] = ()
    rejected: Sequence[ReportImage] = ()
    errors: Sequence[ReportImage] = ()
    accepted: Sequence[ReportImage] = ()
    errors_by_code: Mapping[str, int] = field(default_factory=dict)
    answers: Sequence[ReportAnswer] = ()
    limits: Sequence[ReportLimit] = ()
    types: Sequence[ReportType] = ()
    policy: Mapping[str, Any] = field(default_factory=dict)
    policy_sha256: str | None = None
    hosting: ReportHosting | None = None
    evaluation: Evaluation | None = None
    escapes: int = 0
    false_alarms: int = 0
    audit: ReportAudit | None = None
    database_url: str | None = None
    made_at: datetime | None = None
    reviewed: int = 0
    notes: Sequence[str] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
