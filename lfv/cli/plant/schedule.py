"""The flow runs of a plant's deployment `scheduled`: the last, the next, and those that wait."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lfv.cli.common import local_time
from lfv.cli.plant.left_runs import flow_run_processes, holding_runs
from lfv.cli.plant.server_api import ApiFailure, ServerApi
from lfv.formats.words import count_of

#: Name of the deployment of a plant's own schedule.
SCHEDULED = "scheduled"
_ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
_WAITING = "AwaitingConcurrencySlot"


@dataclass(frozen=True)
class EndedRun:
    """A flow run that has ended: its start, or its end if it never started, and its final state."""

    at: datetime
    state: str

    def __str__(self) -> str:
        return f"{local_time(self.at)}, {self.state}"


@dataclass(frozen=True)
class ScheduledRuns:
    """The flow runs of the deployment `scheduled`.

    Attributes:
        last: The run that ended last, or None.
        next: Planned start of the next run, or None.
        waiting: One line for each flow run for which others wait.
        paused: Whether somebody paused the deployment or all of its schedules.
    """

    last: EndedRun | None
    next: datetime | None
    waiting: tuple[str, ...]
    paused: bool


def scheduled_runs(api: ServerApi, pool: str) -> ScheduledRuns | None:
    """Return the scheduled runs; None if the server does not answer."""
    try:
        last = _first(api, pool, {"type": {"any_": list(_ENDED)}}, "END_TIME_DESC")
        coming = {"type": {"any_": ["SCHEDULED"]}, "name": {"not_any_": [_WAITING]}}
        following = _first(api, pool, coming, "EXPECTED_START_TIME_ASC")
        waiting = _waiting(api, pool)
        paused = _is_paused(api, pool)
    except ApiFailure:
        return None
    ended = last and EndedRun(_time(last["start_time"] or last["end_time"]), last["state_name"])
    planned = following and _time(following["expected_start_time"])
    return ScheduledRuns(ended or None, planned or None, waiting, paused)


def _first(
    api: ServerApi, pool: str, state: Mapping[str, Any], sort: str
) -> Mapping[str, Any] | None:
    body = {
        "flow_runs": {"state": state},
        "deployments": {"name": {"any_": [SCHEDULED]}},
        "work_pools": {"name": {"any_": [pool]}},
        "sort": sort,
        "limit": 1,
    }
    found: list[Mapping[str, Any]] = api.post("flow_runs/filter", body)
    return found[0] if found else None


def _is_paused(api: ServerApi, pool: str) -> bool:
    body = {
        "deployments": {"name": {"any_": [SCHEDULED]}},
        "work_pools": {"name": {"any_": [pool]}},
    }
    found: list[Mapping[str, Any]] = api.post("deployments/filter", body)
    active = [schedule["active"] for one in found for schedule in one["schedules"]]
    return any(one["paused"] for one in found) or (bool(active) and not any(active))


def _waiting(api: ServerApi, pool: str) -> tuple[str, ...]:
    body = {
        "flow_runs": {"state": {"name": {"any_": [_WAITING]}}},
        "work_pools": {"name": {"any_": [pool]}},
    }
    waiting: list[Mapping[str, Any]] = api.post("flow_runs/filter", body)
    if not waiting:
        return ()
    processes = flow_run_processes()
    lines = []
    for holder in holding_runs(api, pool):
        count = sum(one["deployment_id"] == holder["deployment_id"] for one in waiting)
        if not count:
            continue
        since = local_time(_time(holder["state"]["timestamp"]))
        verb = "waits" if count == 1 else "wait"
        line = f"{count_of(count, 'run')} {verb} behind {holder['name']}, "
        line += f"{holder['state_name']} since {since}"
        if holder["id"] not in processes:
            line += "; it has no process: `lfv down` and `lfv up` end it"
        lines.append(line)
    return tuple(lines)


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
