"""The steps of a run that need no model: list the images, check them, reuse known answers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from typing import TypeVar

from prefect import get_run_logger
from prefect.utilities.annotations import quote

from lfv.client.manifests import manifest_digest, manifest_kind, read_manifest
from lfv.formats.folder_layout import Skipped
from lfv.formats.labels import LabelNames
from lfv.formats.manifest.groundtruth import INSPECTION
from lfv.formats.manifest.records import BadLine, ManifestItem, ManifestKind
from lfv.formats.words import count_of
from lfv.run.active import ActiveRun
from lfv.run.errors import RunNotResumable
from lfv.run.new_images import (
    NewObject,
    new_objects,
    require_folder_or_prefix,
    take_over_unfinished,
)
from tasks.check_images import check_images

T = TypeVar("T")

#: Manifest lines per task run of the check, which costs a fraction of detection.
CHECKED_TOGETHER = 500


def plan_run(run: ActiveRun) -> None:
    """Do everything that needs no model."""
    store, source = run.store, run.context.request.source
    stored = store.runs.get(run.run_id)
    if stored.manifest_lines is not None:
        return
    request = run.context.request
    profile = replace(INSPECTION, names=LabelNames.of(request.normal, request.anomaly))
    skipped = Skipped()
    if request.new_only:
        require_folder_or_prefix(source, run.reader)
        if taken := take_over_unfinished(run):
            get_run_logger().info("%d images were left by runs that ended early", taken)
        lines = read_manifest(
            source, run.reader, strict=request.strict, profile=profile, skipped=skipped
        )
        for objects in _batches(new_objects(run, lines, skipped), CHECKED_TOGETHER):
            _check(run, [new_object.line for new_object in objects], objects)
        digest = store.watermarks.digest(run.run_id)
    else:
        kind = manifest_kind(source, run.reader)
        digest = manifest_digest(source, run.reader, kind=kind)
        _refuse_change(run, stored.manifest_sha256 or digest, digest)
        store.runs.set_manifest(run.run_id, digest, None)
        done, read = run.context.planned_through, hashlib.sha256()
        lines = read_manifest(
            source,
            run.reader,
            strict=request.strict,
            kind=kind,
            profile=profile,
            skipped=skipped,
            digest=read,
        )
        left = (line for line in lines if line.line_number > done)
        for batch in _batches(left, CHECKED_TOGETHER):
            _check(run, batch)
        if kind in (ManifestKind.FOLDER, ManifestKind.PREFIX):
            digest = read.hexdigest()  # images may come while a folder is listed
        _refuse_change(run, digest, read.hexdigest())
    counts = store.inspections.counts(run.run_id)
    store.runs.set_manifest(run.run_id, digest, counts.total, skipped.reasons)
    if skipped.reasons:
        get_run_logger().warning("%s", skipped)
        run.control.notify("plan", str(skipped))
    get_run_logger().info(
        "%d images: %d answers are known, %d cannot be inspected, %d need detection",
        counts.total,
        counts.reused,
        counts.errors,
        counts.pending,
    )


def _refuse_change(run: ActiveRun, recorded: str, found: str) -> None:
    """Raise `RunNotResumable` if the manifest is not the one of the run's lines."""
    if found != recorded:
        raise RunNotResumable(
            f"{run.context.request.source} has changed since run {run.run_id} was started; "
            "start a new run"
        )


def _check(
    run: ActiveRun,
    lines: list[ManifestItem | BadLine],
    objects: list[NewObject] | None = None,
) -> None:
    first, last = lines[0].line_number, lines[-1].line_number
    check_images(run, quote(lines), first, last, objects if objects is None else quote(objects))
    run.control.notify("plan", f"{count_of(last, 'manifest line')} checked")


def _batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
