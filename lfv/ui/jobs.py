"""Trainings in the background, one at a time for each project."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

logger = logging.getLogger(__name__)


class Busy(Exception):
    """A job of this name is already running."""


@dataclass(frozen=True)
class Job:
    """A job: `state` is running, done or failed; `text` is its current activity or its result."""

    name: str
    started_by: str
    started_at: datetime
    state: str = "running"
    text: str = ""


class Jobs:
    """The jobs of this server, by name. The list is kept in memory; their results are stored
    elsewhere."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: dict[str, Job] = {}

    def get(self, name: str) -> Job | None:
        """Return the last job of a name, or None."""
        with self._lock:
            return self._jobs.get(name)

    def start(
        self, name: str, started_by: str, work: Callable[[Callable[[str], None]], str]
    ) -> Job:
        """Start `work` in a new thread, passing it a function that reports progress.

        Raises:
            Busy: A job of this name is running.
        """
        with self._lock:
            known = self._jobs.get(name)
            if known is not None and known.state == "running":
                raise Busy(f"{name} is already running, started by {known.started_by}")
            job = self._jobs[name] = Job(name, started_by, datetime.now(UTC))
        threading.Thread(target=self._run, args=(name, work), name=name, daemon=True).start()
        return job

    def _run(self, name: str, work: Callable[[Callable[[str], None]], str]) -> None:
        try:
            text = work(lambda text: self._change(name, text=text))
        except Exception as error:
            logger.exception("%s failed", name)
            self._change(name, state="failed", text=str(error) or type(error).__name__)
        else:
            self._change(name, state="done", text=text)

    def _change(self, name: str, **values: Any) -> None:
        with self._lock:
            self._jobs[name] = replace(self._jobs[name], **values)
