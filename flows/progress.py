"""The progress bar on the Prefect page of a run."""

from __future__ import annotations

import logging
import threading
from contextvars import copy_context
from typing import Self
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact

from lfv.run.control import RunControl

logger = logging.getLogger(__name__)

#: An update costs the server 16-41 ms, an image about as much: not one for each.
UPDATE_SECONDS = 5.0
#: How long the end of a run waits for the bar to show it; the model is up meanwhile.
LAST_UPDATE_SECONDS = 1.0


class ProgressArtifact:
    """A progress bar on the run page, brought up to date every few seconds while entered.

    The page is for people: when the Prefect API does not answer, the run goes on without.
    """

    def __init__(self, control: RunControl, total: int) -> None:
        self._control = control
        self._total = max(1, total)
        self._artifact: UUID | None = None
        self._leaving = threading.Event()

    def __enter__(self) -> Self:
        # In a thread, with the flow run's context: an API that does not answer takes a minute to
        # give up on, and the model is paid for meanwhile.
        context = copy_context()
        self._thread = threading.Thread(
            target=context.run, args=(self._keep_up,), name="progress", daemon=True
        )
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._leaving.set()
        self._thread.join(LAST_UPDATE_SECONDS)

    def _keep_up(self) -> None:
        try:
            created = create_progress_artifact(
                progress=0.0, description=f"{self._total} images to inspect"
            )
        except Exception as error:  # noqa: BLE001 - whatever Prefect raises, the run goes on
            logger.warning("no progress on the run page: %s", error)
            return
        self._artifact = created if isinstance(created, UUID) else None
        shown = 0
        while True:
            left = self._leaving.wait(UPDATE_SECONDS)
            done = self._control.done
            if done != shown:
                shown = done
                self._show(100.0 * done / self._total)
            if left:
                return

    def _show(self, percent: float) -> None:
        if self._artifact is None:
            return
        try:
            update_progress_artifact(self._artifact, progress=min(percent, 100.0))
        except Exception as error:  # noqa: BLE001 - whatever Prefect raises, the run goes on
            logger.debug("progress not shown: %s", error)
