"""Make room: delete what can be made again, and nothing else.

Reports and their pictures are: `lfv report RUN` writes them anew.  Rows of the results database are
never deleted.  What was deleted is on record in `pruned.jsonl` of the home folder.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from lfv.settings import Settings
from lfv_store import Store, UnknownRun

RECORD = "pruned.jsonl"


@dataclass(frozen=True)
class OldReport:
    """The report folder of a run that ended long ago."""

    run_id: str
    finished_at: datetime
    size_bytes: int


@dataclass(frozen=True)
class Pruning:
    """What is, or would be, deleted; `unknown` are folders that belong to no run and stay."""

    older_than_days: float
    reports: tuple[OldReport, ...]
    unknown: tuple[str, ...]

    @property
    def size_bytes(self) -> int:
        """Bytes that this makes free."""
        return sum(report.size_bytes for report in self.reports)


def find_old_reports(
    settings: Settings, store: Store, older_than_days: float, now: datetime | None = None
) -> Pruning:
    """Find the reports of runs that ended so many days ago, the oldest first."""
    before = (now or datetime.now(UTC)) - timedelta(days=older_than_days)
    found: list[OldReport] = []
    unknown: list[str] = []
    folders = settings.runs_folder.iterdir() if settings.runs_folder.is_dir() else ()
    for folder in sorted(folders):
        if not folder.is_dir() or folder.is_symlink():
            continue
        try:
            run = store.runs.get(folder.name)
        except UnknownRun:
            unknown.append(folder.name)
            continue
        if run.finished_at is not None and run.finished_at < before:
            found.append(OldReport(run.run_id, run.finished_at, _size(folder)))
    found.sort(key=lambda report: report.finished_at)
    return Pruning(older_than_days, tuple(found), tuple(unknown))


def delete_reports(settings: Settings, pruning: Pruning, by: str) -> None:
    """Delete what was found, and put it on record, each report before it is gone.

    Raises OSError; what is on record by then may still be there.
    """
    record = settings.home / RECORD
    with record.open("a", encoding="utf-8") as lines:
        for report in pruning.reports:
            facts = asdict(report) | {
                "finished_at": report.finished_at.isoformat(),
                "deleted_at": datetime.now(UTC).isoformat(),
                "older_than_days": pruning.older_than_days,
                "by": by,
            }
            lines.write(json.dumps(facts) + "\n")
            lines.flush()
            _delete(settings.run_folder(report.run_id))


def shown_lines(reports: Sequence[OldReport]) -> list[str]:
    """One line for each report, for people."""
    return [
        f"{report.run_id}, ended {report.finished_at:%Y-%m-%d}, {report.size_bytes / 1e6:.1f} MB"
        for report in reports
    ]


def _delete(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
