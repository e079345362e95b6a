"""Run detection on one batch of pending images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import uuid4

from lfv.run.active import ActiveRun
from lfv.run.control import Ending
from lfv.run.stream import DetectionStream
from lfv_store import PendingItem

#: Tells this process from every other one, on other machines too.
_PROCESS = str(uuid4())


@dataclass(frozen=True)
class DetectedBatch:
    """The outcome of a batch: images answered, recorded as errors, and left pending.

    `ending` is why the run ends early, as far as this batch knows; the process that drives the run
    learns it from here when the batch ran in another one.
    """

    first_line: int
    last_line: int
    answered: int
    errors: int
    left: int
    ending: Ending | None = None
    message: str = ""
    process: str = _PROCESS

    @property
    def ran_elsewhere(self) -> bool:
        """Whether the batch ran in another process."""
        return self.process != _PROCESS


def detect_batch(run: ActiveRun, items: Sequence[PendingItem]) -> DetectedBatch:
    """Run detection on `items`; return early if the run ends.

    The batch joins the stream that the run has open in this process, or gets one of its own.
    """
    if run.stream is not None:
        batch = run.stream.process(items)
    else:
        with DetectionStream(run) as stream:
            batch = stream.process(items)
    return DetectedBatch(
        first_line=items[0].line_number,
        last_line=items[-1].line_number,
        answered=batch.answered,
        errors=batch.errors,
        left=batch.left,
        ending=run.control.ending,
        message=run.control.message,
    )
