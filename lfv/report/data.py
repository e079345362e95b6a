"""What a run's report shows, as plain values; whoever ran the inspection fills them in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class ReportAnomaly:
    """One anomaly type on an image: `area` is its part of the image, 0 to 1; `color` is
    ``#RRGGBB`` as in the mask.  The background is not listed."""

    name: str
    area: float
    color: str | None = None


@dataclass(frozen=True)
class ReportImage:
    """One inspected line.  `verdict` is accept, reject or review; None with an error.

    `confidence` is confidence in `is_anomalous`, 0 to 1.  `read` gives the image's bytes for a
    thumbnail, is called at most once and from any thread; whatever it raises costs the thumbnail
    only.
    """

    line_number: int
    source_ref: str
    verdict: str | None = None
    reasons: Sequence[str] = ()
    is_anomalous: bool | None = None
    confidence: float | None = None
    anomalies: Sequence[ReportAnomaly] = ()
    expected_is_anomalous: bool | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    reused: bool = False
    error_code: str | None = None
    error_message: str | None = None
    read: Callable[[], bytes] | None = None
    mask_png: bytes | None = None


@dataclass(frozen=True)
class ReportCounts:
    """All lines of the run; `pending` are lines that an unfinished run has not come to."""

    total: int
    accepted: int
    rejected: int
    review: int
    errors: int
    reused: int = 0
    pending: int = 0


@dataclass(frozen=True)
class ReportHosting:
    """The period for which the model was up, and what it cost; times in seconds, cost in USD.

    `started_here` False: somebody else had started it, so it was used and left running.
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
class ReportEvaluation:
    """The run measured against the labels of its manifest; an anomaly is the positive class."""

    labelled: int
    true_positive: int
    false_positive: int
    true_negative: int
    false_negative: int
    precision: float | None = None
    recall: float | None = None
    f1: float | None = None
    roc_auc: float | None = None
    average_precision: float | None = None
    iou: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class RunReport:
    """A whole report.  The four sequences may be cut short: `counts` says how many there are.

    `notes` are warnings and remarks, one sentence each.  `database_url` is shown without its
    password.  `facts` are more lines for the list of facts (name -> value).
    """

    run_id: str
    project: str
    model_version: str
    host: str
    source: str
    status: str
    counts: ReportCounts
    message: str | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    triggered_by: str | None = None
    flow_run_id: str | None = None
    code_version: str | None = None
    manifest_sha256: str | None = None
    review: Sequence[ReportImage] = ()
    rejected: Sequence[ReportImage] = ()
    errors: Sequence[ReportImage] = ()
    accepted: Sequence[ReportImage] = ()
    errors_by_code: Mapping[str, int] = field(default_factory=dict)
    policy: Mapping[str, Any] = field(default_factory=dict)
    policy_sha256: str | None = None
    hosting: ReportHosting | None = None
    evaluation: ReportEvaluation | None = None
    database_url: str | None = None
    notes: Sequence[str] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
