"""Answers for images whose bytes occur on more than one line of the same run."""

from __future__ import annotations

from lfv.client.policy import Policy
from lfv.run import inspection_records
from lfv.run.active import ActiveRun
from lfv_store import KnownDetection, NewInspection, PendingItem

_PAGE = 500


def reuse_answers(run: ActiveRun) -> int:
    """Record the pending duplicates of detected images; return their number.

    A duplicate gets the answer or the failure of the line it repeats. While detection is
    unfinished, a duplicate without an answer stays pending.
    """
    context, store = run.context, run.store
    all_detected = not store.inspections.pending(run.run_id, limit=1)
    recorded, after_line = 0, 0
    while page := store.inspections.pending(
        run.run_id, duplicate=True, after_line=after_line, limit=_PAGE
    ):
        after_line = page[-1].line_number
        known = store.inspections.known_detections(
            context.model_id,
            sorted({item.image.sha256 for item in page}),
            run_id=run.run_id if context.request.again else None,
        )
        done = _outcomes(context.parsed_policy(), page, known, all_detected=all_detected)
        if done:
            store.inspections.record(run.run_id, done)
        recorded += len(done)
    return recorded


def _outcomes(
    policy: Policy,
    page: list[PendingItem],
    known: dict[str, KnownDetection],
    *,
    all_detected: bool,
) -> list[NewInspection]:
    done = []
    for item in page:
        if item.image.sha256 in known:
            done.append(inspection_records.record_answer(item, known[item.image.sha256], policy))
        elif all_detected:
            done.append(inspection_records.record_repeated_failure(item))
    return done
