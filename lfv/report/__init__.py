"""Reports of inspection runs: one HTML page and a folder of thumbnails, from plain values.

    rendered = render_report(RunReport(...), settings.run_folder(run_id))
    rendered.path                     # .../report.html
    rendered.thumbnails[line_number]  # .../thumbnails/0000007.jpg

The page needs nothing but the pictures beside it: no network, no server, no script to be read.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from lfv.report.cards import thumbnails as _thumbnails
from lfv.report.data import (
    ReportAnomaly,
    ReportCounts,
    ReportEvaluation,
    ReportHosting,
    ReportImage,
    RunReport,
)
from lfv.report.page import page

__all__ = [
    "RenderedReport",
    "ReportAnomaly",
    "ReportCounts",
    "ReportEvaluation",
    "ReportHosting",
    "ReportImage",
    "RunReport",
    "render_report",
]

REPORT_NAME = "report.html"
THUMBNAILS_NAME = "thumbnails"
#: Accepted images are there to compare with; a few do, and each costs a fetch.
MOST_ACCEPTED = 60


@dataclass(frozen=True)
class RenderedReport:
    """Where the report is; `thumbnails` by line number, for those images that have one."""

    path: Path
    thumbnails: Mapping[int, Path]


def render_report(report: RunReport, folder: Path) -> RenderedReport:
    """Write ``report.html`` and ``thumbnails/`` into `folder`, replacing those of an earlier call.

    Of the accepted images the first `MOST_ACCEPTED` are shown, of all others those that are given.
    The page appears at once and complete.  Raises `OSError` when `folder` cannot be written.
    """
    report = replace(report, accepted=report.accepted[:MOST_ACCEPTED])
    pictures = folder / THUMBNAILS_NAME
    if pictures.exists():
        shutil.rmtree(pictures)
    pictures.mkdir(parents=True)
    images = (*report.review, *report.rejected, *report.accepted)
    made = _thumbnails(images, pictures)
    path = folder / REPORT_NAME
    unfinished = path.with_suffix(".html.part")
    unfinished.write_text(page(report, made), encoding="utf-8", errors="backslashreplace")
    unfinished.replace(path)
    return RenderedReport(path, {line: thumbnail.marked for line, thumbnail in made.items()})
