"""The page as a whole."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence

from lfv.report import cards, sections
from lfv.report.data import ReportCounts, ReportImage, RunReport
from lfv.report.figures import moment, whole
from lfv.report.markup import Html, join, tag, visible
from lfv.report.style import SCRIPT, STYLE
from lfv.report.thumbnails import Thumbnail

_GOOD = frozenset({"completed"})


def page(report: RunReport, thumbnails: Mapping[int, Thumbnail]) -> str:
    """The HTML of `report`; pictures are looked up by line number."""
    title = f"Inspection of {visible(report.project, 80)}, version {visible(report.model_version)}"
    body = tag(
        "body",
        _header(report, title),
        tag(
            "main",
            tiles(report.counts),
            _bar(report.counts),
            _notes(report),
            tag(
                "input",
                id="find",
                type="search",
                hidden=True,
                placeholder="Find a serial number, file, anomaly …",
                aria_label="Find in the images below",
            ),
            _pictures("To review", report.review, report.counts.review, thumbnails),
            _pictures("Rejected", report.rejected, report.counts.rejected, thumbnails),
            _errors(report),
            _accepted(report, thumbnails),
            tag("h2", "About this run"),
            tag(
                "div",
                sections.run_panel(report),
                sections.hosting_panel(report.hosting),
                sections.evaluation_panel(report.evaluation) if report.evaluation else None,
                sections.policy_panel(report),
                sections.sql_panel(report),
                class_="panels",
            ),
        ),
        tag(
            "footer",
            "Marks on pictures are what the model pointed out, in the colour of the anomaly type; "
            "point at a picture to see it without them. The database holds the full record.",
        ),
        tag("script", Html(SCRIPT)),
    )
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", http_equiv="Content-Security-Policy", content=_content_policy()),
        tag("meta", name="referrer", content="no-referrer"),
        tag("title", title),
        tag("style", Html(STYLE)),
    )
    return "<!doctype html>\n" + tag("html", head, body, lang="en") + "\n"


def _content_policy() -> str:
    """Nothing may be loaded but the pictures beside the page, and no script run but ours."""
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    return (
        "default-src 'none'; img-src 'self' file:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )


def _header(report: RunReport, title: str) -> Html:
    style = "accept" if report.status in _GOOD else "reject"
    if report.status == "running":
        style = ""
    when = report.finished_at or report.started_at
    return tag(
        "header",
        tag(
            "div",
            tag("p", "Inspection report", class_="eyebrow"),
            tag("h1", title, " ", tag("span", report.status, class_=f"badge {style}".strip())),
            tag(
                "p",
                tag("code", visible(report.source)),
                f" · {moment(when)}" if when else None,
                class_="soft",
            ),
            tag("p", "Run ", tag("code", visible(report.run_id)), class_="soft"),
        ),
    )


def tiles(counts: ReportCounts) -> Html:
    """The counts that everybody looks for first."""
    shown = [
        ("images", counts.total, ""),
        ("accepted", counts.accepted, "accept"),
        ("rejected", counts.rejected, "reject"),
        ("to review", counts.review, "review"),
        ("not inspected", counts.errors, "error"),
    ]
    if counts.pending:
        shown.append(("still to do", counts.pending, ""))
    if counts.reused:
        shown.append(("answers reused", counts.reused, ""))
    return tag(
        "div",
        [
            tag("div", tag("b", whole(number)), tag("span", name), class_=f"tile {style}".strip())
            for name, number, style in shown
        ],
        class_="tiles",
    )


def _bar(counts: ReportCounts) -> Html:
    parts = (
        ("accept", "accepted", counts.accepted),
        ("review", "to review", counts.review),
        ("reject", "rejected", counts.rejected),
        ("error", "not inspected", counts.errors),
    )
    label = ", ".join(f"{count} {name}" for _, name, count in parts)
    return tag(
        "div",
        [
            tag("i", style=f"flex:{count} 0 0;background:var(--{style})", title=f"{count} {name}")
            for style, name, count in parts
            if count
        ],
        class_="bar",
        role="img",
        aria_label=label,
    )


def _notes(report: RunReport) -> Html:
    bad = None
    if report.message:
        style = "note" if report.status in _GOOD else "note bad"
        bad = tag("p", visible(report.message, 1000), class_=style)
    return join(bad, [tag("p", visible(note, 1000), class_="note") for note in report.notes])


def _pictures(
    title: str, images: Sequence[ReportImage], total: int, thumbnails: Mapping[int, Thumbnail]
) -> Html | None:
    if not images:
        return None
    entries = [cards.card(image, thumbnails.get(image.line_number)) for image in images]
    return tag(
        "section",
        tag("h2", title, _count(len(images), total)),
        tag("div", entries, class_="cards"),
    )


def _accepted(report: RunReport, thumbnails: Mapping[int, Thumbnail]) -> Html | None:
    images = report.accepted
    if not images:
        return None
    entries = [cards.card(image, thumbnails.get(image.line_number)) for image in images]
    return tag(
        "section",
        tag("h2", "Accepted", _count(len(images), report.counts.accepted)),
        tag(
            "details",
            tag("summary", f"Show {whole(len(images))}"),
            tag("div", entries, class_="cards"),
        ),
        class_="small",
    )


def _errors(report: RunReport) -> Html | None:
    if not report.errors and not report.errors_by_code:
        return None
    rows = [cards.error_row(image) for image in report.errors]
    return tag(
        "section",
        tag("h2", "Could not be inspected", _count(len(rows), report.counts.errors)),
        tag(
            "div",
            sections.error_counts(report),
            tag("div", tag("table", tag("tbody", rows)), class_="scroll"),
            class_="panel",
        ),
    )


def _count(shown: int, total: int) -> Html:
    text = whole(total) if shown >= total else f"first {whole(shown)} of {whole(total)}"
    return tag("span", text, class_="count")
