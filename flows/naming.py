"""Names of flow runs: which product, which lot, and what started it."""

from __future__ import annotations

import posixpath

from prefect import runtime
from prefect.context import FlowRunContext

#: Longer names are cut on every page.
_MOST_CHARS = 60
#: What deployments with a schedule give as `triggered_by`. Runs that a person starts inherit it.
_SCHEDULE = "schedule"


def run_name() -> str:
    """The name of an inspection's flow run, such as `cookies · lot-41 · schedule`."""
    parameters = runtime.flow_run.parameters or {}
    given = _corrected(str(parameters.get("triggered_by") or ""))
    parts = (
        str(parameters.get("project") or ""),
        lot_of(str(parameters.get("source") or "")),
        given or runtime.deployment.name or "by hand",
    )
    return " · ".join(part[:_MOST_CHARS] for part in parts if part)


def lot_of(source: str) -> str:
    """What a source is called in its folder: the last part of its path, without its ending."""
    name = posixpath.basename(source.replace("\\", "/").rstrip("/"))
    stem, ending = posixpath.splitext(name)
    return stem if stem and len(ending) <= len(".manifest") else name


def started_by(given: str) -> str:
    """What started this flow run.

    Args:
        given: The parameter `triggered_by`. It counts, except that only the clock is "schedule".
    """
    return _corrected(given) or trigger()


def _corrected(given: str) -> str:
    """`given`; the creator of a deployment's flow run that has "schedule" and no schedule."""
    context = FlowRunContext.get()
    flow_run = context.flow_run if context is not None else None
    if given != _SCHEDULE or flow_run is None or flow_run.deployment_id is None:
        return given
    if flow_run.auto_scheduled:
        return given
    creator = flow_run.created_by.display_value if flow_run.created_by is not None else None
    return creator or "by hand"


def trigger() -> str:
    """What started this flow run, as far as Prefect knows."""
    deployment = runtime.deployment.name
    return f"deployment {deployment}" if deployment else ""
