"""The report of a run: its values in the order and the words of the page."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from lfv.formats.serials import split_serial
from lfv.report.charts import histogram, pareto
from lfv.report.figures import (
    Shown,
    duration,
    moment,
    money,
    percent,
    person,
    score,
    whole,
)
from lfv.report.reasons import plain_sentence
from lfv.report.render import facts, render, visible
from lfv.report.run_values import ReportHosting, ReportImage, RunReport
from lfv.report.thumbnails import LinkedThumbnail, Thumbnail

if TYPE_CHECKING:
    from lfv.formats.evaluation import Evaluation

_GOOD = frozenset({"completed"})
_ATTRIBUTES = 10
#: From this many cards on, a browser lays out only those near the visible ones.
_MANY = 300
_POLICY_CHARACTERS = 20_000


AnyThumbnail = Thumbnail | LinkedThumbnail


@dataclass(frozen=True)
class Card:
    """One image of the gallery; `attributes` are without the part's serial number."""

    image: ReportImage
    name: str
    thumbnail: AnyThumbnail | None
    reasons: tuple[str, ...]
    serial: tuple[str, object] | None
    attributes: tuple[tuple[str, object], ...]
    more_attributes: int


@dataclass(frozen=True)
class Section:
    """Images of one kind: `total` of them in the run, of which `cards` are shown."""

    key: str
    title: str
    explanation: str
    cards: tuple[Card, ...]
    total: int


def run_page(report: RunReport, thumbnails: Mapping[int, AnyThumbnail]) -> str:
    """Return the HTML of `report`; thumbnails are looked up by line number."""
    model = f"{report.project}, model version {report.model_version}"
    when = report.finished_at or report.started_at
    sections = _sections(report, thumbnails)
    many = sum(len(section.cards) for section in sections) > _MANY
    counts = report.counts
    title = f"{model}: {counts.rejected} of {counts.total} rejected"
    return render(
        "run.html",
        links_pictures=any(isinstance(one, LinkedThumbnail) for one in thumbnails.values()),
        title=f"{title}, {when:%Y-%m-%d}" if when else title,
        report=report,
        model=model,
        when=when,
        status_style=_status_style(report.status),
        tiles=_tiles(report),
        sections=sections,
        many=many,
        false_alarms=[
            card
            for section in sections
            for card in section.cards
            if card.image.mistake == "false alarm"
        ],
        type_names=sorted({one.name for image in _all_images(report) for one in image.anomalies}),
        histogram=histogram(report.answers, report.limits),
        pareto=pareto(report.types),
        error_cards=[_card(image, None) for image in report.errors],
        error_counts=sorted(report.errors_by_code.items(), key=lambda pair: (-pair[1], pair[0])),
        run_facts=_run_facts(report),
        hosting_facts=_hosting_facts(report.hosting) if report.hosting else None,
        evaluation_facts=_evaluation_facts(report.evaluation) if report.evaluation else None,
        policy=_policy_text(report),
        database=report.database_url,
        sql_run_id=visible(report.run_id).replace("'", "''"),
    )


def _status_style(status: str) -> str:
    if status == "running":
        return ""
    return "accept" if status in _GOOD else "reject"


def _all_images(report: RunReport) -> Iterable[ReportImage]:
    return (*report.escaped, *report.review, *report.rejected, *report.accepted)


def _sections(report: RunReport, thumbnails: Mapping[int, AnyThumbnail]) -> list[Section]:
    counts = report.counts
    escapes = max(report.escapes, len(report.escaped))
    others = counts.accepted - len(report.escaped)
    shown = (
        ("escape", "Escapes", "Labelled an anomaly, but accepted.", report.escaped, escapes),
        ("review", "To review", "", report.review, counts.review),
        ("reject", "Rejected", "", report.rejected, counts.rejected),
        ("accept", "Accepted", "For comparison.", report.accepted, others),
    )
    return [
        Section(
            key,
            title,
            explanation,
            tuple(_card(image, thumbnails.get(image.line_number)) for image in images),
            total,
        )
        for key, title, explanation, images, total in shown
        if images
    ]


def _card(image: ReportImage, thumbnail: AnyThumbnail | None) -> Card:
    name = image.source_ref.rstrip("/").rpartition("/")[2] or image.source_ref
    serial, others = split_serial(image.attributes)
    more = max(0, len(others) - _ATTRIBUTES)
    types = [anomaly.name for anomaly in image.anomalies]
    reasons = tuple(plain_sentence(reason, types) for reason in image.reasons)
    return Card(image, name, thumbnail, reasons, serial, others[:_ATTRIBUTES], more)


def _tiles(report: RunReport) -> list[tuple[Shown, str, str]]:
    """Return the most important figures: (number, name, style)."""
    counts = report.counts
    shown = [
        (counts.total, "images", ""),
        (counts.accepted, "accepted", "accept"),
        (counts.rejected, "rejected", "reject"),
        (counts.review, "to review", "review"),
        (counts.errors, "not inspected", "error"),
    ]
    if counts.pending:
        shown.append((counts.pending, "still to do", ""))
    tiles = [(whole(number), name, style) for number, name, style in shown]
    rate = counts.defect_rate
    if rate is not None:
        tiles.append((percent(rate), "defect rate", ""))
    return tiles


def _run_facts(report: RunReport) -> list[tuple[str, object]]:
    started, finished = report.started_at, report.finished_at
    took = (finished - started).total_seconds() if started and finished else None
    return facts(
        {
            "Run": report.run_id,
            "Model": f"{report.project}, version {report.model_version}"
            + (f", {report.approval}" if report.approval else ""),
            "Host": report.host,
            "Manifest": report.source,
            "Manifest SHA-256": report.manifest_sha256,
            "Started": _moment(started),
            "Finished": _moment(finished),
            "Duration": duration(took) if took is not None else None,
            "Started by": person(report.triggered_by) if report.triggered_by else None,
            "Prefect flow run": report.flow_run_id,
            "Code version": report.code_version,
            "Answers reused": report.counts.reused or None,
            **report.facts,
        }
    )


def _hosting_facts(hosting: ReportHosting) -> list[tuple[str, object]]:
    hosted, stopped = hosting.hosted_at, hosting.stopped_at
    price = hosting.price_per_unit_hour
    return facts(
        {
            "Model started by": "this system" if hosting.started_here else "somebody else",
            "Inference units": hosting.inference_units,
            "Start requested": _moment(hosting.requested_at),
            "Hosted": _moment(hosted),
            "Stopped": _moment(stopped) or _not_stopped(hosting),
            "Hosted for": duration((stopped - hosted).total_seconds())
            if hosted and stopped
            else None,
            "Paid time": _duration(hosting.paid_seconds),
            "Idle time": _idle(hosting),
            "Price": f"{money(price)} per unit and hour" if price is not None else None,
            "Cost": money(hosting.cost) if hosting.cost is not None else None,
        }
    )


def _idle(hosting: ReportHosting) -> Shown | None:
    idle, paid = hosting.idle_seconds, hosting.paid_seconds
    if idle is None:
        return None
    share = f" ({percent(idle / paid)} of the paid time)" if paid else ""
    return Shown(duration(idle) + share)


def _not_stopped(hosting: ReportHosting) -> str:
    return "not yet" if hosting.started_here else "left running"


def _moment(at: datetime | None) -> str | None:
    return None if at is None else moment(at)


def _duration(seconds: float | None) -> str | None:
    return None if seconds is None else duration(seconds)


def _evaluation_facts(evaluation: Evaluation) -> list[tuple[str, object]]:
    measures = {
        "Labelled images": evaluation.images,
        "Precision": score(evaluation.precision),
        "Recall": score(evaluation.recall),
        "F1 score": score(evaluation.f1),
        "Area under ROC": score(evaluation.roc_auc),
        "Average precision": score(evaluation.average_precision),
    }
    for kind in evaluation.types:
        if kind.average_iou is not None:
            measures[f"IoU of {kind.name}"] = score(kind.average_iou)
    return facts(measures)


def _policy_text(report: RunReport) -> str:
    """Return the policy as printable JSON."""
    text = json.dumps(dict(report.policy), indent=2, ensure_ascii=False, default=str)
    return "\n".join(visible(line, 2000) for line in text[:_POLICY_CHARACTERS].splitlines())
