"""Ends detection early if a run rejects too many images, so that a person can decide."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from lfv.formats.words import count_of
from lfv.run.active import ActiveRun
from lfv.run.control import Ending
from lfv_store import RunCounts, StoreError

logger = logging.getLogger(__name__)

#: The fewest verdicts from which a reject rate is meaningful.
LEAST_VERDICTS = 20
_LOOK_SECONDS = 1.0


@contextmanager
def watch_reject_rate(run: ActiveRun, limit: float | None) -> Iterator[None]:
    """End detection with `Ending.PAUSE` once the share of rejects reaches `limit`, 0 to 1."""
    if limit is None:
        yield
        return
    leaving = threading.Event()
    inspections = run.store.with_patience(0).inspections

    def watch() -> None:
        while not leaving.wait(_LOOK_SECONDS):
            try:
                message = too_many_rejects(inspections.counts(run.run_id), limit)
            except StoreError as error:
                logger.warning("the reject rate could not be looked up: %s", error)
                continue
            if message is not None:
                run.control.end(Ending.PAUSE, message)
                return

    thread = threading.Thread(target=watch, name="rejects", daemon=True)
    thread.start()
    try:
        yield
    finally:
        leaving.set()


def too_many_rejects(counts: RunCounts, limit: float) -> str | None:
    """Describe a reject rate that has reached the limit; None if it has not."""
    rate = counts.reject_rate
    if rate is None or counts.judged < LEAST_VERDICTS or rate < limit:
        return None
    return (
        f"{counts.rejected} of {count_of(counts.judged, 'image')} rejected "
        f"({rate:.0%}); {counts.pending} left"
    )
