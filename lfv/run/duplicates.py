"""Answers for images whose bytes another line of the same run had as well."""

from __future__ import annotations

from lfv.run import outcomes
from lfv.run.context import RunContext
from lfv.run.patience import with_patience
from lfv_store import KnownDetection, NewInspection, PendingItem, Store

_PAGE = 500


def reuse_answers(run: RunContext, store: Store) -> int:
    """Record the pending duplicates of images that were asked about; returns how many.

    They get the answer of the line that was asked, or end as it did when it got none.  As long as
    anything is still to be asked, a duplicate without an answer stays pending.
    """
    all_asked = not store.inspections.pending(run.run_id, limit=1)
    recorded, after_line = 0, 0
    while page := store.inspections.pending(
        run.run_id, duplicate=True, after_line=after_line, limit=_PAGE
    ):
        after_line = page[-1].line_number
        known = store.inspections.known_detections(
            run.model_id,
            sorted({item.image.sha256 for item in page}),
            run_id=run.run_id if run.request.again else None,
        )
        done = _outcomes(run, page, known, all_asked=all_asked)
        if done:
            with_patience(
                lambda batch=done: store.inspections.record(run.run_id, batch),  # type: ignore[misc]
                seconds=run.settings.store_patience_seconds,
            )
        recorded += len(done)
    return recorded


def _outcomes(
    run: RunContext,
    page: list[PendingItem],
    known: dict[str, KnownDetection],
    *,
    all_asked: bool,
) -> list[NewInspection]:
    policy = run.parsed_policy()
    done = []
    for item in page:
        if item.image.sha256 in known:
            done.append(outcomes.answered(item, known[item.image.sha256], policy))
        elif all_asked:
            done.append(outcomes.failed_as_before(item))
    return done
