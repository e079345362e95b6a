"""Names of flow runs: which product, which lot, and what started it."""

from __future__ import annotations

import posixpath

from prefect import runtime
from prefect.context import FlowRunContext

from flows.deployment import deployment_name

#: Longest part of a name. Prefect's pages truncate longer names.
_MAX_PART_CHARS = 60
#: `triggered_by` of a deployment with a schedule. A run that a person starts from it has it too.
_SCHEDULE = "schedule"


def run_name() -> str:
    """Return the name of an inspection's flow run, such as `cookies · lot-41 · schedule`."""
    parameters = runtime.flow_run.parameters or {}
    triggered_by = _actual_trigger(str(parameters.get("triggered_by") or ""))
    parts = (
        str(parameters.get("project") or ""),
        lot_of(str(parameters.get("source") or "")),
        triggered_by or deployment_name() or "by hand",
    )
    return " · ".join(part[:_MAX_PART_CHARS] for part in parts if part)


def lot_of(source: str) -> str:
    """Return the last part of a source's path, without an extension of usual length."""
    name = posixpath.basename(source.replace("\\", "/").rstrip("/"))
    stem, extension = posixpath.splitext(name)
    return stem if stem and len(extension) <= len(".manifest") else name


def started_by(triggered_by: str) -> str:
    """Return what started this flow run.

    Args:
        triggered_by: The flow's parameter, used as given, except "schedule" on a run that no
            schedule started.
    """
    return _actual_trigger(triggered_by) or deployment_trigger()


def _actual_trigger(triggered_by: str) -> str:
    """Return `triggered_by`, or a flow run's creator if no schedule started it."""
    context = FlowRunContext.get()
    flow_run = context.flow_run if context is not None else None
    if triggered_by != _SCHEDULE or flow_run is None or flow_run.deployment_id is None:
        return triggered_by
    if flow_run.auto_scheduled:
        return triggered_by
    creator = flow_run.created_by.display_value if flow_run.created_by is not None else None
    return creator or "by hand"


def deployment_trigger() -> str:
    """Return what started this flow run, as far as Prefect knows."""
    deployment = deployment_name()
    return f"deployment {deployment}" if deployment else ""
