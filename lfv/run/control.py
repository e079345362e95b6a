"""How the threads of one run are told to end, and how a watcher is told how far they are.

The threads of a run's batches look up the run's control by its id, because events and callbacks
cannot travel as task parameters.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum


class Ending(StrEnum):
    """Why a run stops asking before everything is asked."""

    INTERRUPTED = "interrupted"  # the flow is ending: cancellation, signal, failure elsewhere
    LIMIT = "limit"  # a cost or time limit was reached
    MODEL_LOST = "model_lost"  # the model is not hosted any more
    OUT_OF_REACH = "out_of_reach"  # the place where the model lives does not answer
    STORE = "store"  # answers cannot be stored


@dataclass(frozen=True)
class Progress:
    """A step of a run, for people.

    `phase` is one of 'plan', 'model', 'ask', 'report'; `done` of `total` lines or images (None:
    not known yet); `text` one line on what is going on.
    """

    phase: str
    text: str = ""
    done: int = 0
    total: int | None = None


Watcher = Callable[[Progress], None]

_watchers: list[Watcher] = []
_controls: dict[str, RunControl] = {}
_registry_lock = threading.Lock()


class RunControl:
    """Stop signal and progress of one run in this process.

    The first reason to end is the one that counts.
    """

    def __init__(self) -> None:
        self.stop = threading.Event()
        self.hold: object | None = None
        self._lock = threading.Lock()
        self._ending: Ending | None = None
        self._message = ""
        self._done = 0
        self._total: int | None = None
        self._answers = 0
        self._failures_since = 0

    @property
    def ending(self) -> Ending | None:
        return self._ending

    @property
    def message(self) -> str:
        return self._message

    @property
    def done(self) -> int:
        """Images that have their record, of those that were to be asked about."""
        return self._done

    @property
    def answers(self) -> int:
        """Answers that the model gave this run so far."""
        return self._answers

    def answered(self) -> None:
        """The model gave an answer."""
        with self._lock:
            self._answers += 1
            self._failures_since = 0

    def failed(self) -> int:
        """An image got none, after all attempts; how many that are since the last answer."""
        with self._lock:
            self._failures_since += 1
            return self._failures_since

    @property
    def failures_since_answer(self) -> int:
        """Images in a row, over all batches, that got no answer."""
        return self._failures_since

    def end(self, ending: Ending, message: str = "") -> None:
        """Ask every thread of the run to finish the image it is at and begin no other."""
        with self._lock:
            if self._ending is None:
                self._ending, self._message = ending, message
        self.stop.set()

    def resume(self) -> None:
        """Go on after an ending that was mended (a lost model that is hosted again)."""
        with self._lock:
            self._ending, self._message = None, ""
            self._failures_since = 0
            self.stop.clear()

    def expect(self, total: int) -> None:
        """So many images are to be asked about."""
        with self._lock:
            self._done, self._total = 0, total

    def advance(self) -> None:
        """One more image has its record."""
        with self._lock:
            self._done += 1
            done, total = self._done, self._total
        tell(Progress("ask", done=done, total=total))

    def tell(self, phase: str, text: str = "") -> None:
        """Tell the watchers what is going on."""
        tell(Progress(phase, text))


@contextmanager
def controlled(run_id: str) -> Iterator[RunControl]:
    """The control of a run that this process drives; its threads are told to stop on exit."""
    control = RunControl()
    with _registry_lock:
        _controls[run_id] = control
    try:
        yield control
    finally:
        control.end(Ending.INTERRUPTED)
        with _registry_lock:
            if _controls.get(run_id) is control:
                del _controls[run_id]


def control_of(run_id: str) -> RunControl:
    """Control of a run; in a process that does not drive the run, one that nobody ends."""
    with _registry_lock:
        return _controls.get(run_id) or RunControl()


@contextmanager
def watching(watcher: Watcher) -> Iterator[None]:
    """Call `watcher` with every `Progress` of the runs in this process, from any thread."""
    _watchers.append(watcher)
    try:
        yield
    finally:
        _watchers.remove(watcher)


def tell(progress: Progress) -> None:
    """Tell the watchers."""
    for watcher in tuple(_watchers):
        watcher(progress)
