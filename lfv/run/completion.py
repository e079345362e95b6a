"""Whether a run that has no pending image counts as completed."""

from __future__ import annotations

from contextlib import closing

from lfv.formats.layout import counted
from lfv.run.active import ActiveRun
from lfv.run.errors import NothingInspected, SourceEmpty


def refuse_empty(run: ActiveRun) -> None:
    """Make sure that the run has a verdict.

    Raises:
        SourceEmpty: The source names no image, and the request does not allow that.
        NothingInspected: None of the images could be inspected.
    """
    request = run.context.request
    counts = run.store.inspections.counts(run.run_id)
    if counts.total == 0:
        if request.allow_empty:
            return
        skipped = run.store.runs.get(run.run_id).skipped
        but = f"; skipped files: {counted(skipped)}" if skipped else ""
        raise SourceEmpty(
            f"{request.source} has no image to inspect{but}; if that is expected, allow it with "
            "--allow-empty"
        )
    if counts.errors == counts.total:
        with closing(run.store.results.rows(run.run_id)) as rows:
            first = next(rows)
        raise NothingInspected(
            f"none of the {counts.total} images could be inspected; the first: {first['error']}"
        )
