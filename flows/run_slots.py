"""At most so many runs of a model at a time; the others wait, before the model is started for them.

Each project has a global concurrency limit on the Prefect server, which people can change on its
page. Prefect's leases give the place of a killed run free after a while.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from prefect import runtime
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.concurrency.sync import concurrency
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound

logger = logging.getLogger(__name__)

#: Runs of one model at a time: an operator's joins the scheduled one instead of waiting for the
#: model to stop and start again, and more would only share the same inference units.
RUNS_PER_MODEL = 2
#: How long the place of a run that was killed stays taken.
_LEASE_SECONDS = 120


def limit_name(project: str) -> str:
    """The name of the limit that all model versions of a project share."""
    return f"lfv.model.{project}"


def set_limit(client: SyncPrefectClient, project: str, runs: int | None = None) -> int:
    """Create the limit of a project, or change it to `runs` if that is given; return what holds."""
    name = limit_name(project)
    if runs is not None:
        client.upsert_global_concurrency_limit_by_name(name, runs)
        return runs
    with suppress(ObjectNotFound):
        return client.read_global_concurrency_limit_by_name(name).limit
    with suppress(ObjectAlreadyExists):  # another run was quicker
        limit = GlobalConcurrencyLimitCreate(name=name, limit=RUNS_PER_MODEL)
        client.create_global_concurrency_limit(limit)
    return RUNS_PER_MODEL


@contextmanager
def place_at_model(project: str) -> Iterator[None]:
    """Wait for a place among the runs of a model, and hold it while entered.

    Runs that no deployment started have none. When the Prefect API does not answer, the run goes on
    without: the limit saves money, the results do not depend on it.
    """
    if runtime.deployment.id is None:
        yield
        return
    place = concurrency(
        limit_name(project), lease_duration=_LEASE_SECONDS, raise_on_lease_renewal_failure=False
    )
    try:
        with get_client(sync_client=True) as client:
            runs = set_limit(client, project)
        logger.info("waiting for a place among the %d runs of %s", runs, project)
        place.__enter__()
    except Exception as error:  # noqa: BLE001 - whatever Prefect raises, the run goes on
        logger.warning("no concurrency limit for this run: %s", error)
        yield
        return
    try:
        yield
    finally:
        try:
            place.__exit__(None, None, None)
        except Exception as error:  # noqa: BLE001 - the place comes free by itself
            logger.warning("the place at the model is not given back yet: %s", error)
