"""Whether a run that has no pending image counts as completed."""

from __future__ import annotations

from contextlib import closing

from lfv.formats.folder_layout import describe_skipped
from lfv.run.active import ActiveRun
from lfv.run.errors import NothingInspected, SourceEmpty
from lfv.run.new_images import LEFT_TO_LATER_RUN, STILL_WRITTEN
from lfv.run.summary import NOTHING_NEW


def check_completed(run: ActiveRun) -> str | None:
    """Check that a run has a verdict or a valid reason for none; return its completion message.

    A source where no run has ever found an image counts as empty even for a run on new images,
    because its name may be misspelt.

    Raises:
        SourceEmpty: The source names no image, and the request does not allow that.
        NothingInspected: None of the images could be inspected.
    """
    request = run.context.request
    counts = run.store.inspections.counts(run.run_id)
    if counts.total == 0:
        if _has_nothing_new(run):
            return NOTHING_NEW
        if request.allow_empty:
            return None
        skipped = run.store.runs.get(run.run_id).skipped
        but = f"; skipped files: {describe_skipped(skipped)}" if skipped else ""
        raise SourceEmpty(
            f"{request.source} has no image to inspect{but}; if that is expected, allow it with "
            "--allow-empty"
        )
    if request.new_only and _is_left_to_later_runs(run):
        return "later runs inspect the images of this run"
    if counts.errors == counts.total:
        with closing(run.store.results.rows(run.run_id)) as rows:
            first = next(rows)
        if counts.total == 1:
            raise NothingInspected(f"the only image could not be inspected: {first['error']}")
        raise NothingInspected(
            f"none of the {counts.total:,} images could be inspected; the first: {first['error']}"
        )
    return None


def _has_nothing_new(run: ActiveRun) -> bool:
    """Whether this is a run on new images whose source has or had images, or may have none."""
    request = run.context.request
    if not request.new_only:
        return False
    if request.allow_empty or STILL_WRITTEN in (run.store.runs.get(run.run_id).skipped or {}):
        return True
    marks = run.store.watermarks
    return marks.has_objects(marks.source_of(run.run_id))


def _is_left_to_later_runs(run: ActiveRun) -> bool:
    """Whether later runs have taken over all images of this run."""
    codes = run.store.results.errors_by_code(run.run_id)
    return codes.get(LEFT_TO_LATER_RUN, 0) == run.store.inspections.counts(run.run_id).total
