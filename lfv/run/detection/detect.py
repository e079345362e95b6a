"""Run detection on one batch of pending images."""

from __future__ import annotations

import socket
import threading
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

from lfv.client.errors import HostError
from lfv.run.active import ActiveRun
from lfv.run.context import RunContext
from lfv.run.control import Ending
from lfv.run.detection.attachments import attach
from lfv.run.errors import NotSpreadable
from lfv_store import PendingItem


class PendingBatch:
    """Pending images for one task run, in the order of their lines.

    Neither a sequence nor a dataclass, because task runners would search such a parameter for
    results of other task runs, and Dask would rebuild it.
    """

    def __init__(self, items: Sequence[PendingItem], stop: threading.Event | None = None) -> None:
        self.items = items
        #: Ends the batch if it is run in this process.
        self.stop = stop

    def __reduce__(self) -> tuple[object, tuple[Sequence[PendingItem]]]:
        return PendingBatch, (self.items,)


@dataclass(frozen=True)
class DetectedBatch:
    """The outcome of a batch: images answered, recorded as errors, and left pending.

    `ending` is why the run ends early, as far as this batch knows. `ran_elsewhere` tells the
    process that drives the run that another one ran the batch.
    """

    first_line: int
    answered: int
    errors: int
    left: int
    ending: Ending | None = None
    message: str = ""
    ran_elsewhere: bool = False


def detect_batch(
    run: ActiveRun | RunContext,
    items: Sequence[PendingItem],
    stop: threading.Event | None = None,
) -> DetectedBatch:
    """Run detection on `items`; return early if the run ends, or has ended here by `stop`.

    In the process that drives the run, the run has its stream open. Another process has a
    `RunContext`, and stays attached to the run for its next batches.

    Raises:
        NotSpreadable: That process reaches another model.
    """
    elsewhere = isinstance(run, RunContext)
    with attach(run) if isinstance(run, RunContext) else nullcontext(run) as active:
        left = items
        if elsewhere:
            if stop is not None and stop.is_set():  # the run's work ended before it was attached
                active.control.end(Ending.INTERRUPTED)
            _check_model(active)
            left = _without_record(active, items)
        if active.stream is None:
            raise ValueError("detection needs the run's stream open")
        batch = active.stream.process(left)
        return DetectedBatch(
            first_line=items[0].line_number,
            answered=len(items) - batch.errors - batch.left,
            errors=batch.errors,
            left=batch.left,
            ending=active.control.ending,
            message=active.control.message,
            ran_elsewhere=elsewhere,
        )


def _check_model(run: ActiveRun) -> None:
    """Make sure that this process reaches the run's model; end the run if its host is down."""
    if run.control.stop.is_set():
        return
    try:
        if run.reaches_its_model:
            return
    except HostError as error:
        run.control.end(Ending.OUT_OF_REACH, str(error))
        return
    spec = run.host.spec
    raise NotSpreadable(
        f"{socket.gethostname()} reaches another model named {spec.project}, version "
        f"{spec.model_version}; let its region and credentials be those of the run's own machine"
    )


def _without_record(run: ActiveRun, items: Sequence[PendingItem]) -> Sequence[PendingItem]:
    """Return the items without a record. A worker that died may have recorded some of a batch."""
    after_line = items[0].line_number - 1
    left = run.store.inspections.pending(run.run_id, after_line=after_line, limit=len(items))
    lines = {item.line_number for item in left}
    return [item for item in items if item.line_number in lines]
