"""Runs on new images only: finds the objects of a source that no run has claimed.

An object is new if its content is, so one that was overwritten with other content is new. An object
with the same size and ETag, or size and modification times, as before is taken as unchanged without
being read. Claims are stored in SQL (`lfv_store.watermarks`), so that runs may overlap, fail and be
resumed.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import islice

from lfv.client.errors import HostThrottled, HostTimeout, HostUnavailable, HostUnreachable
from lfv.client.manifests import manifest_kind
from lfv.client.sources import SourceReader
from lfv.client.stores import ObjectState
from lfv.formats.errors import (
    LfvError,
    SourceChanged,
    SourceForbidden,
    SourceNotFound,
    SourceUnavailable,
)
from lfv.formats.folder_layout import Skipped
from lfv.formats.images import ImageInfo
from lfv.formats.manifest.records import BadLine, ManifestItem, ManifestKind
from lfv.formats.refs import S3Ref, parse_ref
from lfv.run.active import ActiveRun
from lfv.run.errors import SourceNotWatchable
from lfv.run.inspection_records import SAME_IMAGE_FAILED
from lfv_store import Claims, ObjectClaim, ObjectStamp, Retries, StoreError

logger = logging.getLogger(__name__)

#: Error code of a line that its run did not reach; a later run inspects the image.
LEFT_TO_LATER_RUN = "left_to_later_run"
_LEFT_TO_LATER_RUN = "The run ended before this image; a later run over new images inspects it."

#: Which errors leave an object new. Failures that may be temporary are tried three times in all.
RETRIES = Retries(
    mendable=frozenset(
        {error.code for error in (HostThrottled, HostTimeout, HostUnavailable, HostUnreachable)}
        | {SourceUnavailable.code, SourceForbidden.code, SAME_IMAGE_FAILED}
    ),
    unasked=frozenset({LEFT_TO_LATER_RUN, SourceChanged.code, SourceNotFound.code}),
    attempts=3,
)
#: Why an object of the source is left to the next run, as a reason of `Skipped`.
STILL_WRITTEN = "still being written"
_LOOKUP_BATCH = 500
_BAD_LINE_STAMP = ObjectStamp(0, "bad line")


@dataclass(frozen=True)
class NewObject:
    """A line of a run on new images, with the stamp that its object had when it was listed."""

    line: ManifestItem | BadLine
    key: str
    seen: ObjectStamp


@contextmanager
def keep_claims(run: ActiveRun) -> Iterator[None]:
    """Keep the run's claims alive during the block, if it is a run on new images."""
    if not run.context.request.new_only:
        yield
        return
    settings, marks = run.settings, run.store.watermarks
    ttl = timedelta(seconds=settings.lease_ttl_seconds)
    marks.begin(run.run_id, ttl)
    stopping = threading.Event()
    heartbeats = run.store.with_patience(0).watermarks

    def beat() -> None:
        while not stopping.wait(settings.lease_heartbeat_seconds):
            try:
                heartbeats.renew(run.run_id, ttl)
            except StoreError as error:
                logger.warning("the run's claims on its images could not be renewed: %s", error)

    thread = threading.Thread(target=beat, name="claims", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()  # a renewal in progress would claim the objects again after their release
        try:
            heartbeats.release(run.run_id)
        except StoreError as error:
            logger.warning(
                "the run's claims could not be released; other runs wait %s s for its images: %s",
                ttl.seconds,
                error,
            )


def take_over_unfinished(run: ActiveRun) -> int:
    """Mark as new the images that earlier runs of this source left unfinished; return how many."""
    return run.store.watermarks.take_over(
        run.run_id, code=LEFT_TO_LATER_RUN, message=_LEFT_TO_LATER_RUN
    )


def new_objects(
    run: ActiveRun, lines: Iterable[ManifestItem | BadLine], skipped: Skipped
) -> Iterator[NewObject]:
    """Yield the listed objects that no run has claimed.

    Their line numbers continue where planning stopped. Files that changed within the settle time,
    or are gone, are left to the next run.
    """
    source_id = run.store.watermarks.source_of(run.run_id)
    states = _States(run.context.request.source, run.reader, run.context.request.settle_seconds)
    number = run.context.planned_through
    iterator = iter(lines)
    while batch := list(islice(iterator, _LOOKUP_BATCH)):
        seen: dict[str, tuple[ManifestItem | BadLine, ObjectStamp]] = {}
        for line in batch:
            if isinstance(line, BadLine):
                seen[line.text] = line, _BAD_LINE_STAMP
            elif (stamp := states.stamp_if_settled(line.source_ref, skipped)) is not None:
                seen[line.written_ref] = line, stamp
        known = run.store.watermarks.unchanged(
            source_id, {key: stamp for key, (_, stamp) in seen.items()}, RETRIES
        )
        for key, (line, stamp) in seen.items():
            if key not in known:
                number += 1
                yield NewObject(replace(line, line_number=number), key, stamp)


def require_folder_or_prefix(source: str, reader: SourceReader) -> None:
    """Raise `SourceNotWatchable` unless the source is a folder or a prefix."""
    if manifest_kind(source, reader) not in (ManifestKind.FOLDER, ManifestKind.PREFIX):
        raise SourceNotWatchable(
            f"--new-only needs a folder or an s3://bucket/prefix/; {source} is neither, so inspect "
            "it without"
        )


def claims_of(
    objects: Sequence[NewObject],
    checked: Mapping[int, ImageInfo | LfvError],
    digests: Mapping[int, str],
    reader: SourceReader,
) -> Claims:
    """Return a run's claims on the objects that it has checked.

    `checked` and `digests` are keyed by line number.

    Objects that cannot be read now, are gone, or were changed meanwhile are not claimed and remain
    new.
    """
    claims = []
    for new_object in objects:
        number = new_object.line.line_number
        if isinstance(new_object.line, ManifestItem):
            outcome = checked[number]
            if isinstance(outcome, SourceNotFound | SourceUnavailable):
                continue
            if not _is_as_listed(new_object.line.source_ref, new_object.seen, reader):
                continue
        claims.append(ObjectClaim(number, new_object.key, new_object.seen, digests.get(number, "")))
    return Claims(claims, RETRIES)


def _is_as_listed(ref: str, seen: ObjectStamp, reader: SourceReader) -> bool:
    """Whether a file did not change while it was read. S3's reads are atomic."""
    if ref.startswith("s3://"):
        return True
    state = reader.state(ref)
    return state is not None and _stamp(state) == seen


class _States:
    """The stamps of a source's objects, and whether the objects are still being written."""

    def __init__(self, source: str, reader: SourceReader, settle_seconds: float) -> None:
        ref = parse_ref(source)
        self._reader = reader
        self._settle_seconds = settle_seconds
        self._listed = reader.states(ref) if isinstance(ref, S3Ref) else None
        self._now = time.time()

    def stamp_if_settled(self, ref: str, skipped: Skipped) -> ObjectStamp | None:
        """Return the stamp of an object, or None while it is being written."""
        state = self._reader.state(ref) if self._listed is None else self._listed.get(ref)
        if state is None:
            skipped.reasons["gone"] += 1
            return None
        if state.changed_at is not None and self._is_fresh(state.changed_at):
            skipped.reasons[STILL_WRITTEN] += 1
            return None
        return _stamp(state)

    def _is_fresh(self, changed_at: float) -> bool:
        """Whether a change is recent. A time far in the future only shows that clocks differ."""
        return abs(self._now - changed_at) < self._settle_seconds


def _stamp(state: ObjectState) -> ObjectStamp:
    return ObjectStamp(state.size_bytes, state.stamp)
