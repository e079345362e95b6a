"""Deletes old files that can be recreated.

`lfv report RUN` recreates reports; reports and `lfv ui` recreate the pictures they share. Masks are
the only data of the results database that can be deleted, and only under a signature. Every
deletion is recorded in the audit log, before it happens or with it.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from lfv.formats.words import count_of
from lfv.settings import Settings
from lfv_store import OldMasks, Signature, Store, UnknownRun

#: Maximum number of reports in one audit entry.
_TOGETHER = 500


@dataclass(frozen=True)
class OldReport:
    """The report folder of a run that ended before the limit."""

    run_id: str
    finished_at: datetime
    size_bytes: int


@dataclass(frozen=True)
class OldPictures:
    """Pictures of reports and `lfv ui` that were not used recently."""

    number: int = 0
    size_bytes: int = 0


@dataclass(frozen=True)
class Pruning:
    """What is or would be deleted; `unknown` are folders that belong to no run and are kept."""

    older_than_days: float
    before: datetime
    reports: tuple[OldReport, ...]
    pictures: OldPictures
    unknown: tuple[str, ...]
    masks: OldMasks

    @property
    def size_bytes(self) -> int:
        """The number of bytes to free."""
        reports = sum(report.size_bytes for report in self.reports)
        return reports + self.pictures.size_bytes + self.masks.size_bytes


def find_old(
    settings: Settings, store: Store, older_than_days: float, *, masks: bool = False
) -> Pruning:
    """Find reports of runs that ended this many days ago, the oldest first, and unused pictures.

    With `masks`, also the masks of answers that no run has used since.
    """
    before = datetime.now(UTC) - timedelta(days=older_than_days)
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
    sizes = [size for _, size in _old_pictures(settings.thumbnails_folder, before)]
    pictures = OldPictures(len(sizes), sum(sizes))
    old_masks = store.prunings.old_masks(before) if masks else OldMasks()
    return Pruning(older_than_days, before, tuple(found), pictures, tuple(unknown), old_masks)


def delete_old(
    settings: Settings,
    store: Store,
    pruning: Pruning,
    by: str,
    signature: Signature | None = None,
) -> None:
    """Record the deletions in the audit log, then delete. Masks require a signature.

    Raises OSError or StoreError; what was recorded by then may still exist.
    """
    days = pruning.older_than_days
    for first in range(0, len(pruning.reports), _TOGETHER):
        reports = pruning.reports[first : first + _TOGETHER]
        store.prunings.record(
            by,
            "reports",
            older_than_days=days,
            number=len(reports),
            size_bytes=sum(report.size_bytes for report in reports),
            runs=[report.run_id for report in reports],
        )
        for report in reports:
            _delete(settings.run_folder(report.run_id))
    if number := pruning.pictures.number:
        size = pruning.pictures.size_bytes
        store.prunings.record(by, "pictures", older_than_days=days, number=number, size_bytes=size)
        for file, _ in _old_pictures(settings.thumbnails_folder, pruning.before):
            file.unlink(missing_ok=True)
    if pruning.masks.number and signature is not None:
        store.prunings.delete_masks(pruning.before, signature, older_than_days=days)


def shown_lines(pruning: Pruning) -> list[str]:
    """Describe what is deleted: one line for each report, one for all pictures, one for masks."""
    lines = [
        f"{report.run_id}, ended {report.finished_at:%Y-%m-%d}, {report.size_bytes / 1e6:.1f} MB"
        for report in pruning.reports
    ]
    if pictures := pruning.pictures.number:
        size = f"{pruning.pictures.size_bytes / 1e6:.1f} MB"
        lines.append(f"{count_of(pictures, 'picture')} of lfv ui, {size}")
    if masks := pruning.masks.number:
        lines.append(f"{count_of(masks, 'mask')}, {pruning.masks.size_bytes / 1e6:.1f} MB")
    return lines


def _old_pictures(folder: Path, before: datetime) -> Iterator[tuple[Path, int]]:
    """Yield the pictures that were neither made nor read since `before`, with their sizes."""
    for path in folder.rglob("*"):
        try:
            facts = path.stat()
        except OSError:  # deleted meanwhile
            continue
        if path.is_file() and max(facts.st_mtime, facts.st_atime) < before.timestamp():
            yield path, facts.st_size


def _delete(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
