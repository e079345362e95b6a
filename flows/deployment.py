"""The deployment that this flow run belongs to.

``prefect.runtime.deployment`` queries the API on every access, even without a deployment.
"""

from __future__ import annotations

from prefect import runtime
from prefect.context import FlowRunContext


def deployment_id() -> str | None:
    """Return the id of this flow run's deployment, or None if a command started the run."""
    context = FlowRunContext.get()
    flow_run = context.flow_run if context is not None else None
    if flow_run is not None and flow_run.parent_task_run_id is None:
        return str(flow_run.deployment_id) if flow_run.deployment_id else None
    inherited: str | None = runtime.deployment.id  # of the flow that called this one
    return inherited


def deployment_name() -> str | None:
    """Return the name of this flow run's deployment, or None if a command started the run."""
    return runtime.deployment.name if deployment_id() else None
