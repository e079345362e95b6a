"""Finds a run by what a user typed."""

from __future__ import annotations

from lfv.run.errors import RunNotFound
from lfv_store import Run, Store
from lfv_store.records.runs import RUN_STATUSES

LAST = "last"


def find_unfinished_run(store: Store, text: str) -> Run:
    """Return the run to resume: as `find_run`, but 'last' is the newest that has not completed.

    If all have completed, 'last' is the newest. Raises `RunNotFound`.
    """
    if text != LAST:
        return find_run(store, text)
    unfinished = [
        run
        for status in RUN_STATUSES
        if status != "completed"
        for run in store.runs.list(1, status=status)
    ]
    return max(unfinished, key=lambda run: run.started_at, default=None) or find_run(store, text)


def find_run(store: Store, text: str) -> Run:
    """Return the run that `text` names: an id or its start, a Prefect flow run's id, or 'last'.

    Raises `RunNotFound` if there is none, or more than one.
    """
    if text == LAST:
        newest = store.runs.list(1)
        if not newest:
            raise RunNotFound("there are no runs yet; `lfv inspect` starts one")
        return newest[0]
    found = store.runs.find(text) if text else []
    exact = [run for run in found if run.run_id == text]
    if len(exact) == 1:
        return exact[0]
    if len(found) > 1:
        ids = ", ".join(run.run_id for run in found)
        raise RunNotFound(f"several run ids start with '{text}': {ids}")
    run = found[0] if found else store.runs.find_by_flow_run(text)
    if run is None:
        raise RunNotFound(f"no run id starts with '{text}'; `lfv runs` lists the runs")
    return run
