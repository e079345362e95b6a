"""Names of flow runs: which product, which lot, and what started it."""

from __future__ import annotations

import posixpath

from prefect import runtime

#: Longer names are cut on every page.
_MOST_CHARS = 60


def run_name() -> str:
    """The name of an inspection's flow run, such as `cookies · lot-41 · scheduled`."""
    parameters = runtime.flow_run.parameters or {}
    parts = (
        str(parameters.get("project") or ""),
        lot_of(str(parameters.get("source") or "")),
        str(parameters.get("triggered_by") or "") or runtime.deployment.name or "by hand",
    )
    return " · ".join(part[:_MOST_CHARS] for part in parts if part)


def lot_of(source: str) -> str:
    """What a source is called in its folder: the last part of its path, without its ending."""
    name = posixpath.basename(source.replace("\\", "/").rstrip("/"))
    stem, ending = posixpath.splitext(name)
    return stem if stem and len(ending) <= len(".manifest") else name


def trigger() -> str:
    """What started this flow run, as far as Prefect knows."""
    deployment = runtime.deployment.name
    return f"deployment {deployment}" if deployment else ""
