"""How the threads of one run learn that it ends early, and how a watcher follows its progress."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum


class Ending(StrEnum):
    """Why a run stops detection before every image has its record."""

    INTERRUPTED = "interrupted"  # the flow is ending: cancellation, signal, failure elsewhere
    LIMIT = "limit"  # a cost or time limit was reached
    MODEL_LOST = "model_lost"  # the model is no longer hosted
    OUT_OF_REACH = "out_of_reach"  # the model's host does not answer
    STORE = "store"  # results cannot be stored
    PAUSE = "pause"  # so much is rejected that a person decides whether to go on


@dataclass(frozen=True)
class Progress:
    """A step of a run, for people.

    Attributes:
        phase: 'plan', 'model' or 'detect'.
        text: One line on what is going on.
        done: Manifest lines or images done.
        total: Of how many; None while unknown.
    """

    phase: str
    text: str = ""
    done: int = 0
    total: int | None = None


Watcher = Callable[[Progress], None]

_watcher: ContextVar[Watcher | None] = ContextVar("watcher", default=None)


@contextmanager
def watching(watcher: Watcher) -> Iterator[None]:
    """Call `watcher` with the progress of every run begun in this block, from any thread."""
    token = _watcher.set(watcher)
    try:
        yield
    finally:
        _watcher.reset(token)


class RunControl:
    """Stop signal, failure counts and progress of one run in this process.

    The first reason to end is the one that counts.
    """

    def __init__(self) -> None:
        self.stop = threading.Event()
        self._watcher = _watcher.get()
        self._lock = threading.Lock()
        self._ending: Ending | None = None
        self._message = ""
        self._done = 0
        self._total: int | None = None
        self._answers = 0
        self._failures_since = 0
        self._on_end: list[Callable[[], None]] = []

    @property
    def ending(self) -> Ending | None:
        return self._ending

    @property
    def message(self) -> str:
        return self._message

    @property
    def done(self) -> int:
        """Images recorded, of those that were pending."""
        return self._done

    @property
    def answers(self) -> int:
        """Answers of the model so far."""
        return self._answers

    @property
    def failures_since_answer(self) -> int:
        """Images in a row, over all batches, that got no answer."""
        return self._failures_since

    def answered(self) -> None:
        """Count an answer of the model."""
        with self._lock:
            self._answers += 1
            self._failures_since = 0

    def failed(self) -> int:
        """Count an image without an answer; return how many there are since the last answer."""
        with self._lock:
            self._failures_since += 1
            return self._failures_since

    def end(self, ending: Ending, message: str = "") -> None:
        """Make every thread of the run finish its current image and take no other."""
        with self._lock:
            if self._ending is None:
                self._ending, self._message = ending, message
            listeners = list(self._on_end)
        self.stop.set()
        for listener in listeners:
            listener()

    @contextmanager
    def on_end(self, listener: Callable[[], None]) -> Iterator[None]:
        """Call `listener` when the run ends while in this block, at once if it is ending."""
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
        """Continue after an ending that was mended: a lost model that is hosted again."""
        with self._lock:
            self._ending, self._message = None, ""
            self._failures_since = 0
            self.stop.clear()

    def expect(self, total: int) -> None:
        """Set how many images are pending."""
        with self._lock:
            self._done, self._total = 0, total

    def advance(self, images: int = 1) -> None:
        """Count images that have their record."""
        with self._lock:
            self._done += images
            done, total = self._done, self._total
        self._notify(Progress("detect", done=done, total=total))

    def notify(self, phase: str, text: str = "") -> None:
        """Show the watcher what is going on."""
        self._notify(Progress(phase, text))

    def _notify(self, progress: Progress) -> None:
        if self._watcher is not None:
            self._watcher(progress)
