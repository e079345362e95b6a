"""Early ending of a run, signalled to its threads, and progress for watchers."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum

logger = logging.getLogger(__name__)


class Ending(StrEnum):
    """Why a run stops detection before all images are recorded."""

    INTERRUPTED = "interrupted"  # the flow is ending: cancellation, signal, failure elsewhere
    LIMIT = "limit"  # a cost or time limit was reached
    MODEL_LOST = "model_lost"  # the model is no longer hosted
    OUT_OF_REACH = "out_of_reach"  # the model's host does not answer
    STORE = "store"  # results cannot be stored
    PAUSE = "pause"  # too many rejects: a person must decide whether to continue


@dataclass(frozen=True)
class Progress:
    """Progress of a run, for display.

    Attributes:
        phase: 'record' just before a run is recorded and once it is, 'plan', 'model' or 'detect'.
        text: One line on the current activity.
        done: Manifest lines or images done.
        total: Their total; None while unknown.
        run_id: The run, once it is recorded.
    """

    phase: str
    text: str = ""
    done: int = 0
    total: int | None = None
    run_id: str | None = None


Watcher = Callable[[Progress], None]

_watcher: ContextVar[Watcher | None] = ContextVar("watcher", default=None)


@contextmanager
def watch_runs(watcher: Watcher) -> Iterator[None]:
    """Call `watcher` with the progress of every run started in this block, from any thread."""
    token = _watcher.set(watcher)
    try:
        yield
    finally:
        _watcher.reset(token)


def announce_run(run_id: str | None = None) -> None:
    """Report to the watcher that a run is about to be recorded, or which one is."""
    if (watcher := _watcher.get()) is not None:
        watcher(Progress("record", run_id=run_id))


class RunControl:
    """Stop signal, failure counts and progress of one run in this process.

    Only the first reason to end counts. The attributes are read only outside of this class.
    """

    def __init__(self) -> None:
        self.stop = threading.Event()
        self._watcher = _watcher.get()
        self._lock = threading.Lock()
        self.ending: Ending | None = None
        self.message = ""
        #: The number of pending images that are now recorded.
        self.done = 0
        #: The number of answers so far.
        self.answers = 0
        #: The number of consecutive images without an answer, across batches.
        self.failures_since_answer = 0
        self._total: int | None = None
        self._on_end: list[Callable[[], None]] = []

    def count_answer(self) -> None:
        """Count an answer of the model."""
        with self._lock:
            self.answers += 1
            self.failures_since_answer = 0

    def count_failure(self) -> int:
        """Count an image without an answer; return how many there are since the last answer."""
        with self._lock:
            self.failures_since_answer += 1
            return self.failures_since_answer

    def end(self, ending: Ending, message: str = "") -> None:
        """Make every thread of the run finish its current image and take no other."""
        with self._lock:
            if self.ending is None:
                self.ending, self.message = ending, message
            # The last first, so that this process ends its work before it informs others in SQL.
            listeners = self._on_end[::-1]
        self.stop.set()
        for listener in listeners:
            listener()

    @contextmanager
    def on_end(self, listener: Callable[[], None]) -> Iterator[None]:
        """Call `listener` when the run ends during this block, at once if it is ending already."""
        with self._lock:
            self._on_end.append(listener)
        if self.stop.is_set():
            listener()
        try:
            yield
        finally:
            with self._lock:
                self._on_end.remove(listener)

    def resume(self) -> None:
        """Continue after an ending that no longer applies, such as a lost model that is back."""
        with self._lock:
            self.ending, self.message = None, ""
            self.failures_since_answer = 0
            self.stop.clear()

    def expect(self, total: int) -> None:
        """Set how many images are pending."""
        with self._lock:
            self.done, self._total = 0, total

    def advance(self, images: int = 1) -> None:
        """Count images as recorded."""
        with self._lock:
            self.done += images
            done, total = self.done, self._total
        self._notify(Progress("detect", done=done, total=total))

    def notify(self, phase: str, text: str = "") -> None:
        """Report the current activity to the watcher."""
        self._notify(Progress(phase, text))

    def _notify(self, progress: Progress) -> None:
        """Call the watcher. If it fails, as when its terminal is gone, the run continues."""
        watcher = self._watcher
        if watcher is None:
            return
        try:
            watcher(progress)
        except Exception as error:  # noqa: BLE001 - a run does not depend on who watches it
            self._watcher = None
            logger.warning("progress is no longer shown: %s", error)
