"""Limits how many runs use a project's models at once; others wait before starting a model.

Each project has a global concurrency limit on the Prefect server, which can be changed on its page.
Prefect's leases free the slot of a killed run after a while.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.concurrency.sync import concurrency
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound

from flows.deployment import deployment_id

logger = logging.getLogger(__name__)

#: Concurrent runs per project. Two, so that an operator's run joins a scheduled one instead of
#: waiting for the model to stop and start again; more would only share the same inference units.
RUNS_PER_MODEL = 2
#: How long the slot of a killed run stays taken.
_LEASE_SECONDS = 120


def limit_name(project: str) -> str:
    """Return the name of the limit that all model versions of a project share."""
    return f"lfv.model.{project}"


def set_limit(client: SyncPrefectClient, project: str, runs: int | None = None) -> int:
    """Create a project's limit, or change it to `runs` if given; return the limit in force."""
    name = limit_name(project)
    if runs is not None:
        client.upsert_global_concurrency_limit_by_name(name, runs)
        return runs
    with suppress(ObjectNotFound):
        return client.read_global_concurrency_limit_by_name(name).limit
    with suppress(ObjectAlreadyExists):  # another run created it first
        limit = GlobalConcurrencyLimitCreate(name=name, limit=RUNS_PER_MODEL)
        client.create_global_concurrency_limit(limit)
    return RUNS_PER_MODEL


@contextmanager
def place_at_model(project: str) -> Iterator[None]:
    """Wait for a slot among the runs of a project, and hold it while entered.

    Runs without a deployment need none. If the Prefect API does not answer, the run continues
    without a slot, because results do not depend on the limit.
    """
    if deployment_id() is None:
        yield
        return
    place = concurrency(
        limit_name(project), lease_duration=_LEASE_SECONDS, raise_on_lease_renewal_failure=False
    )
    try:
        with get_client(sync_client=True) as client:
            runs = set_limit(client, project)
        logger.info("waiting for one of the %d run slots of %s", runs, project)
        place.__enter__()
    except Exception as error:  # noqa: BLE001 - no error of Prefect may end the run
        logger.warning("no concurrency limit for this run: %s", error)
        yield
        return
    try:
        yield
    finally:
        try:
            place.__exit__(None, None, None)
        except Exception as error:  # noqa: BLE001 - the place comes free by itself
            logger.warning("the run slot is not released yet: %s", error)
