"""Ends the flow runs of the plant's worker: before the worker ends, and those it left behind.

While the worker runs, a flow run can be cancelled: its process stops the model, records the run as
cancelled, and the worker reports the same to Prefect.

A worker that ends kills its flow runs. Nobody reports this to Prefect, nor that a worker was killed
or that the machine lost power. Prefect then keeps the run Pending, Running or Cancelling. The run
holds the only slot of its deployment, so that every later run waits for it or is cancelled. A
transition to an end state frees the slot. The leases of the slots of `lfv.model.PROJECT` are in the
server's memory. After a restart of the server, only a reset frees those slots.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from lfv.cli.plant.server_api import ApiFailure, ServerApi
from lfv.cli.plant.waiting import wait_until

logger = logging.getLogger(__name__)

#: Types of states in which a flow run holds a slot.
HOLDING = ("PENDING", "RUNNING", "CANCELLING")
_VARIABLE = b"PREFECT__FLOW_RUN_ID="
#: Modules that a flow run's process runs, which distinguish it from its guard. The guard has the
#: same environment, and outlives it.
_ENGINES = (b"prefect", b"flows.engine")
_END_SECONDS = 10.0
#: How long flow runs may take to be cancelled. The worker kills their processes after 30 seconds.
_CANCEL_SECONDS = 45.0


def end_left_runs(api: ServerApi, pool: str, message: str) -> list[str]:
    """End the flow runs of a work pool that hold a slot and have no process on this machine.

    They end as Crashed, and `message` is shown on their pages. Returns their names. Raises one of
    `ApiFailure` if the server does not answer.
    """
    processes = flow_run_processes()
    ended = []
    left_over = False
    for run in holding_runs(api, pool):
        if run["id"] in processes:
            left_over = True
            continue
        body = {"state": {"type": "CRASHED", "message": message}, "force": True}
        api.post(f"flow_runs/{run['id']}/set_state", body)
        logger.warning("flow run %s ends as crashed: %s", run["name"], message)
        ended.append(str(run["name"]))
    if not left_over and not holding_runs(api):
        _reset_slots(api)
    return ended


def cancel_runs(api: ServerApi, pool: str, message: str) -> None:
    """Cancel the flow runs of a pool on this machine, and wait until they are Cancelled.

    Their worker must be running: it reports ended processes to Prefect. Flow runs that
    start meanwhile are cancelled too. Errors of the server and flow runs that do not end are only
    logged, because `end_runs` follows.
    """
    here: set[str] = set()

    def have_ended() -> bool:
        runs = _runs(api, (*HOLDING, "PAUSED"), pool)
        started = {one["id"] for one in runs}.intersection(flow_run_processes()) - here
        for run in runs:
            if run["id"] in started and run["state_type"] != "CANCELLING":
                body = {"state": {"type": "CANCELLING", "message": message}}
                api.post(f"flow_runs/{run['id']}/set_state", body)
        here.update(started)
        return not any(run["id"] in here for run in runs)

    try:
        if not wait_until(have_ended, _CANCEL_SECONDS):
            logger.warning("flow runs that were cancelled have not ended")
    except ApiFailure as error:
        logger.warning("the flow runs could not be cancelled: %s", error)


def end_runs(api: ServerApi, pool: str, message: str) -> None:
    """End the flow runs that `cancel_runs` left, after their worker has ended.

    They could not report their end. The results database records them as crashed, and so does
    Prefect. Errors of the server are only logged, because the next start of the worker ends
    remaining runs.
    """
    try:
        wanted = {str(run["id"]) for run in holding_runs(api, pool)}
        _end_processes(wanted)
        end_left_runs(api, pool, message)
    except ApiFailure as error:
        logger.warning("the flow runs could not be ended: %s", error)


def holding_runs(api: ServerApi, pool: str | None = None) -> list[Mapping[str, Any]]:
    """Return the flow runs of one or all pools that hold a slot. Raises one of `ApiFailure`."""
    return _runs(api, HOLDING, pool)


def _runs(api: ServerApi, states: Sequence[str], pool: str | None) -> list[Mapping[str, Any]]:
    wanted: dict[str, Any] = {"flow_runs": {"state": {"type": {"any_": list(states)}}}}
    if pool is not None:
        wanted["work_pools"] = {"name": {"any_": [pool]}}
    found: list[Mapping[str, Any]] = api.post("flow_runs/filter", wanted)
    return found


def flow_run_processes() -> dict[str, list[int]]:
    """Return the process ids of the flow runs on this machine, by id of the flow run."""
    found: dict[str, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal():
            continue
        with suppress(OSError):  # it has ended, or belongs to another user
            state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
            arguments = (folder / "cmdline").read_bytes().split(b"\0")
            if state in "ZX" or not any(argument.startswith(_ENGINES) for argument in arguments):
                continue
            for variable in (folder / "environ").read_bytes().split(b"\0"):
                if variable.startswith(_VARIABLE):
                    run = variable.removeprefix(_VARIABLE).decode()
                    found.setdefault(run, []).append(int(folder.name))
    return found


def _end_processes(runs: set[str]) -> None:
    """Terminate the processes of flow runs, and kill them if that takes too long."""

    def live_processes() -> list[int]:
        return [pid for run, pids in flow_run_processes().items() if run in runs for pid in pids]

    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid in live_processes():
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        if wait_until(lambda: not live_processes(), _END_SECONDS):
            return


def _reset_slots(api: ServerApi) -> None:
    """Free the slots of all concurrency limits. Call only if no flow run holds one."""
    for limit in api.post("v2/concurrency_limits/filter", {}):
        if limit["active_slots"] and not limit["slot_decay_per_second"]:
            api.patch(f"v2/concurrency_limits/{limit['id']}", {"active_slots": 0})
