"""Events that automations can be built on; docs/prefect.md lists them with their payloads.

Events are informational: if the Prefect API does not answer, the run continues without them.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from prefect.events import emit_event

from lfv.run.context import RunContext
from lfv.run.errors import LimitReached
from lfv.run.hosting.hold import ModelHold
from lfv.run.start import request_of
from lfv.run.summary import RunSummary
from lfv_store import Run

logger = logging.getLogger(__name__)

RUN_STARTED = "lfv.run.started"
RUN_COMPLETED = "lfv.run.completed"
RUN_FAILED = "lfv.run.failed"
MODEL_STARTED = "lfv.model.started"
MODEL_STOPPED = "lfv.model.stopped"
MODEL_LEFT_RUNNING = "lfv.model.left-running"
REJECT_RATE_HIGH = "lfv.reject-rate.high"
BUDGET_REACHED = "lfv.budget.reached"


def model_resource(host: str, project: str, model_version: str) -> dict[str, str]:
    """Describe a model as a resource of events."""
    return {
        "prefect.resource.id": f"lfv.model.{host}.{project}.{model_version}",
        "prefect.resource.name": f"{project} version {model_version}",
        "prefect.resource.role": "model",
    }


def emit(
    event: str,
    resource: Mapping[str, str],
    payload: Mapping[str, Any],
    related: Mapping[str, str] | None = None,
) -> None:
    """Emit an event about a resource. Prefect adds the current flow run."""
    try:
        emit_event(
            event=event,
            resource=dict(resource),
            related=[] if related is None else [dict(related)],
            payload=dict(payload),
        )
    except Exception as error:  # noqa: BLE001 - no error of Prefect may end the run
        logger.warning("event %s was not emitted: %s", event, error)


class RunEvents:
    """The events of one run."""

    def __init__(self, run: RunContext | Run) -> None:
        request = run.request if isinstance(run, RunContext) else request_of(run)
        self._run = {
            "prefect.resource.id": f"lfv.run.{run.run_id}",
            "prefect.resource.name": f"{request.project} {run.run_id[:8]}",
        }
        self._model = model_resource(request.host, request.project, run.model_version)
        self._facts: dict[str, Any] = {
            "run_id": run.run_id,
            "project": request.project,
            "model_version": run.model_version,
            "host": request.host,
            "source": request.source,
            "triggered_by": request.triggered_by,
        }

    def report_start(self) -> None:
        """Report that the run was started or resumed."""
        self._emit_for_run(RUN_STARTED)

    def report_completion(self, summary: RunSummary, reject_rate_limit: float) -> None:
        """Report that the run is complete, and separately if its reject rate is high."""
        self._emit_for_run(RUN_COMPLETED, **_counts(summary))
        rate = summary.counts.reject_rate
        if rate is not None and rate >= reject_rate_limit:
            self._emit_for_run(
                REJECT_RATE_HIGH,
                reject_rate=rate,
                reject_rate_limit=reject_rate_limit,
                **_counts(summary),
            )

    def report_failure(self, error: BaseException, summary: RunSummary | None) -> None:
        """Report that the run ended early: by an error, a limit, a signal or a cancellation."""
        counts = {} if summary is None else _counts(summary)
        message = str(error) or type(error).__name__
        if isinstance(error, LimitReached):
            self._emit_for_run(BUDGET_REACHED, message=message, **counts)
        self._emit_for_run(RUN_FAILED, message=message, error=type(error).__name__, **counts)

    def report_model_start(self) -> None:
        """Report that this run has started the model."""
        emit(MODEL_STARTED, self._model, self._facts, self._related_run())

    @contextmanager
    def report_release(self, hold: ModelHold) -> Iterator[None]:
        """Report what happened to the model whose hold is released in the block."""
        try:
            yield
        finally:
            if hold.stopped is not None:
                event = MODEL_STOPPED if hold.stopped else MODEL_LEFT_RUNNING
                emit(event, self._model, self._facts, self._related_run())

    def _emit_for_run(self, event: str, **facts: Any) -> None:
        emit(event, self._run, self._facts | facts, self._model)

    def _related_run(self) -> dict[str, str]:
        return {**self._run, "prefect.resource.role": "run"}


def _counts(summary: RunSummary) -> dict[str, Any]:
    counts = summary.counts
    return {
        "status": summary.status,
        "images": counts.total,
        "accepted": counts.accepted,
        "rejected": counts.rejected,
        "review": counts.review,
        "errors": counts.errors,
        "pending": counts.pending,
        "nothing_new": summary.nothing_new,
    }
