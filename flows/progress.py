"""The progress bar on the Prefect page of a run."""

from __future__ import annotations

import logging
import threading
import time
from contextvars import copy_context
from typing import Self
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact

from lfv.formats.words import count_of
from lfv.run.control import RunControl

logger = logging.getLogger(__name__)

#: An update costs the server 16 to 41 ms, about as much as an image, so updates are few.
UPDATE_SECONDS = 5.0
#: How long the end of a run waits for the last update; the model is up meanwhile.
LAST_UPDATE_SECONDS = 1.0


class ProgressArtifact:
    """A progress bar on the run's page, updated every few seconds while entered.

    It is informational: if the Prefect API does not answer, the run continues without it.
    """

    def __init__(self, control: RunControl, total: int, dollars_per_hour: float) -> None:
        self._control = control
        self._dollars_per_hour = dollars_per_hour
        self._total = max(1, total)
        self._artifact: UUID | None = None
        self._leaving = threading.Event()

    def __enter__(self) -> Self:
        # In a thread, with the flow run's context, because an API that does not answer blocks for a
        # minute while the model is billed.
        context = copy_context()
        self._began = time.monotonic()
        self._thread = threading.Thread(
            target=context.run, args=(self._publish,), name="progress", daemon=True
        )
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._leaving.set()
        self._thread.join(LAST_UPDATE_SECONDS)

    def _publish(self) -> None:
        try:
            created = create_progress_artifact(
                progress=0.0, description=f"{count_of(self._total, 'image')} to inspect"
            )
        except Exception as error:  # noqa: BLE001 - no error of Prefect may end the run
            logger.warning("no progress on the run page: %s", error)
            return
        self._artifact = created if isinstance(created, UUID) else None
        shown = 0
        while True:
            left = self._leaving.wait(UPDATE_SECONDS)
            done = self._control.done
            if done != shown:
                shown = done
                self._show(done)
            if left:
                return

    def _show(self, done: int) -> None:
        if self._artifact is None:
            return
        seconds = time.monotonic() - self._began
        text = progress_text(done, self._total, seconds, self._dollars_per_hour)
        percent = min(100.0 * done / self._total, 100.0)
        try:
            update_progress_artifact(self._artifact, progress=percent, description=text)
        except Exception as error:  # noqa: BLE001 - no error of Prefect may end the run
            logger.debug("progress not shown: %s", error)


def progress_text(done: int, total: int, seconds: float, dollars_per_hour: float) -> str:
    """Describe progress: images, rate, time left and cost since detection started."""
    parts = [f"{done:,} of {count_of(total, 'image')}"]
    if done and seconds > 0:
        rate = done / seconds
        parts.append(f"{rate:.1f} a second")
        if done < total:
            parts.append(f"about {_duration((total - done) / rate)} left")
    if dollars_per_hour:
        parts.append(f"{seconds / 3600 * dollars_per_hour:.2f} USD so far")
    return ", ".join(parts)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
