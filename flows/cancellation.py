"""Ends a command's flow run when it is cancelled on Prefect's page or through its API.

Prefect's workers do that for the flow runs that they start, with SIGTERM.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import copy_context
from typing import Any
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.states import Cancelled

from lfv.run.errors import EndedByOperator

logger = logging.getLogger(__name__)

#: Interval at which the flow run's state is read.
_LOOK_SECONDS = 3.0


@contextmanager
def cancellable(flow: Any) -> Iterator[Any]:
    """Yield the flow, so that its flow run in this block can be cancelled.

    The process must exit cleanly on SIGTERM. Raises EndedByOperator.
    """
    cancellation = _Cancellation()
    try:
        yield flow.with_options(on_running=[cancellation.follow])
    except SystemExit:
        if not cancellation.came:
            raise
        raise EndedByOperator(
            "the flow run was cancelled on Prefect's page; answers so far are stored; "
            "`lfv inspect --resume last` inspects the rest"
        ) from None
    finally:
        cancellation.end()


class _Cancellation:
    """Follows the flow run of this process."""

    def __init__(self) -> None:
        self._over = threading.Event()
        self._flow_run: UUID | None = None
        #: Whether the flow run was cancelled, and this process was sent SIGTERM for that.
        self.came = False

    def __reduce__(self) -> tuple[Any, ...]:
        """Make the flow picklable for a cluster's workers, which never call this hook."""
        return _Cancellation, ()

    def follow(self, _flow: Any, flow_run: Any, _state: Any) -> None:
        """Send this process SIGTERM once the flow run is cancelled. A hook for the flow's start."""
        self._flow_run = flow_run.id
        target = copy_context().run
        threading.Thread(target=target, args=(self._look,), name="cancel", daemon=True).start()

    def end(self) -> None:
        """Stop following, and report to Prefect that a cancelled flow run has ended."""
        self._over.set()
        if not self.came or self._flow_run is None:
            return
        try:
            with get_client(sync_client=True) as client:
                cancelled: Any = Cancelled(message="The run has ended, and released its model.")
                client.set_flow_run_state(self._flow_run, cancelled, force=True)
        except Exception as error:  # noqa: BLE001 - the run itself has ended
            logger.warning("Prefect's page does not show that the run is cancelled: %s", error)

    def _look(self) -> None:
        while not self._over.wait(_LOOK_SECONDS):
            try:
                with get_client(sync_client=True) as client:
                    while not self._is_cancelling(client):
                        if self._over.wait(_LOOK_SECONDS):
                            return
            except Exception as error:  # noqa: BLE001 - no error of Prefect may end the run
                logger.debug("the state of the flow run is not known: %s", error)
                continue
            self.came = True
            os.kill(os.getpid(), signal.SIGTERM)
            return

    def _is_cancelling(self, client: Any) -> bool:
        state = client.read_flow_run(self._flow_run).state
        return state is not None and state.is_cancelling()
