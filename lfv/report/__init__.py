"""Pages and pictures for people, from plain values.

There are the report of a run, the report of a training, and overlays of single images:

    path = write_run_report(RunReport(...), settings.run_folder(run_id))   # .../report.html

Each page is one file that loads nothing: it can be mailed, archived and printed.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from lfv.report.overlay import OverlayFacts, draw_overlay
from lfv.report.render import write_page
from lfv.report.run_report import run_page
from lfv.report.run_values import (
    ReportAnomaly,
    ReportAnswer,
    ReportAudit,
    ReportCounts,
    ReportHosting,
    ReportImage,
    ReportLimit,
    ReportType,
    RunReport,
)
from lfv.report.thumbnails import LinkedThumbnail, Linker, find_thumbnails, make_thumbnails
from lfv.report.training_report import (
    REPORT_NAME,
    JudgedImage,
    ReportCurve,
    ReportTable,
    TrainedType,
    TrainingReport,
    write_training_report,
)

__all__ = [
    "MOST_ACCEPTED",
    "JudgedImage",
    "LinkedThumbnail",
    "OverlayFacts",
    "ReportAnomaly",
    "ReportAnswer",
    "ReportAudit",
    "ReportCounts",
    "ReportCurve",
    "ReportHosting",
    "ReportImage",
    "ReportLimit",
    "ReportTable",
    "ReportType",
    "RunReport",
    "TrainedType",
    "TrainingReport",
    "draw_overlay",
    "write_run_report",
    "write_training_report",
]

#: Accepted images are only for comparison; a few are enough, and each must be read.
MOST_ACCEPTED = 60


def write_run_report(report: RunReport, folder: Path, linker: Linker | None = None) -> Path:
    """Write ``report.html`` into `folder`, and return its path.

    Of the accepted images the first `MOST_ACCEPTED` are shown, of all others those that are given.
    The page embeds their thumbnails, except those that `linker` finds in files.
    The file is complete whenever it exists. Raises OSError when it cannot be written.
    """
    report = replace(report, accepted=report.accepted[:MOST_ACCEPTED])
    shown = (*report.escaped, *report.review, *report.rejected, *report.accepted)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / REPORT_NAME
    linked = {} if linker is None else find_thumbnails(shown, linker)
    made = make_thumbnails(image for image in shown if image.line_number not in linked)
    write_page(path, run_page(report, {**made, **linked}))
    return path
