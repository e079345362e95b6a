"""The state of a plant, as `lfv status` shows it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from lfv.cli.plant.schedule import EndedRun, scheduled_runs
from lfv.cli.plant.services import Plant, Schedule
from lfv.cli.plant.supervisor import ServiceState


@dataclass(frozen=True)
class PlantStatus:
    """A plant and its scheduled runs.

    Attributes:
        running: Whether its supervisor runs.
        ready: Whether flow runs can start.
        port: Port of its Prefect server.
        ui_port: Port of its pages.
        prefect_url: Address of Prefect's pages.
        prefect_api_url: What clients need as PREFECT_API_URL.
        results_url: Address of the pages with results.
        scheduled: What the deployment `scheduled` inspects, and when; None if nothing is scheduled.
        last_run: The scheduled run that ended last.
        next_run: Planned start of the next scheduled run.
        paused: Whether somebody paused the schedule on the server.
        waiting: One line for each flow run for which others wait.
        services: Its processes.
    """

    running: bool
    ready: bool
    port: int | None = None
    ui_port: int | None = None
    prefect_url: str | None = None
    prefect_api_url: str | None = None
    results_url: str | None = None
    scheduled: Schedule | None = None
    last_run: EndedRun | None = None
    next_run: datetime | None = None
    paused: bool = False
    waiting: tuple[str, ...] = ()
    services: tuple[ServiceState, ...] = ()


def plant_status(plant: Plant) -> PlantStatus:
    """Return the status of a plant; its server is queried only if it is ready."""
    state = plant.state()
    if state is None:
        return PlantStatus(running=False, ready=False, scheduled=plant.schedule())
    plant = replace(plant, port=state.port, ui_port=state.ui_port)
    ready = state.running and state.ready
    schedule = plant.schedule()
    runs = scheduled_runs(plant.api, plant.pool) if ready else None
    return PlantStatus(
        running=state.running,
        ready=ready,
        port=state.port,
        ui_port=state.ui_port,
        prefect_url=plant.page_url,
        prefect_api_url=plant.api_url,
        results_url=plant.ui_url,
        scheduled=schedule,
        last_run=runs.last if runs else None,
        next_run=runs.next if runs else None,
        paused=bool(runs and runs.paused and schedule),
        waiting=runs.waiting if runs else (),
        services=tuple(state.services),
    )
