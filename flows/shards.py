"""Lets other flow runs, on other machines, share the detection of a run.

The flow run that was started leads: it plans, holds the model, inspects, evaluates and reports. It
starts flow runs of the deployment `inspect-shard/shard`, which Prefect workers on any machine pick
up. They inspect what they claim in the results database. The run does not depend on them: the
leader does what no shard does.
"""

# No postponed annotations here: a served flow is pickled by value, and its process could not
# resolve names that only annotations use.

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from prefect import flow, get_run_logger
from prefect.client.orchestration import get_client
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelled

from flows.blocks import settings_of_blocks
from flows.fan_out import OTHERS_SECONDS, detect_claims
from lfv.run.active import ActiveRun
from lfv.run.control import Ending, RunControl
from lfv.run.detection.attachments import call_off_workers_on_end
from lfv.run.detection.shards import LOST_SECONDS, Share, check_shareable
from lfv.run.embedded_service import is_embedded
from lfv.run.errors import InspectionError, NotSpreadable
from lfv.run.start import RunStarter
from lfv.settings import Settings
from lfv_store import open_store

_FLOW = "inspect-shard"
_DEPLOYMENT = f"{_FLOW}/shard"
#: How long the end of a run waits until shards that never started are cancelled.
_LAST_SECONDS = 2.0


@dataclass(frozen=True)
class Shards:
    """How many other flow runs share a run, and their parameters besides the run itself."""

    number: int = 0
    parameters: dict[str, Any] = field(default_factory=dict)

    def check(self, settings: Settings, host: str) -> None:
        """Make sure that as many other flow runs can share a run on this kind of host.

        Raises:
            NotSpreadable: They cannot, or their deployment does not exist.
        """
        if not self.number:
            return
        check_shareable(settings, embedded=is_embedded(settings, host))
        try:
            with get_client(sync_client=True) as client:
                client.read_deployment_by_name(_DEPLOYMENT)
        except ObjectNotFound:
            raise NotSpreadable(
                f"the Prefect server has no deployment {_DEPLOYMENT}; create it with: lfv deploy"
            ) from None


def share_out(run: ActiveRun, shards: Shards) -> Ending | None:
    """Share the pending images with other flow runs; return why detection ended early."""
    store, control = run.store, run.control
    store.run_workers.clear(run.run_id)
    with (
        Share(store, run.context, control, leads=True) as share,
        call_off_workers_on_end(run),
        _started(run, shards),
    ):
        try:
            detect_claims(store, run.context, control, share)
        finally:
            if control.ending is Ending.MODEL_LOST:
                share.await_others(LOST_SECONDS)
            elif control.ending is not None:
                share.await_others(OTHERS_SECONDS)
    return control.ending


@contextmanager
def _started(run: ActiveRun, shards: Shards) -> Iterator[None]:
    """Have other flow runs share the run in this block.

    In a thread, with the flow run's context, because an API that does not answer blocks for a
    minute while the model is being paid for.
    """
    over = threading.Event()
    target = copy_context().run
    arguments = (_keep_started, run, shards, over)
    thread = threading.Thread(target=target, args=arguments, name="shards", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(_LAST_SECONDS)


def _keep_started(run: ActiveRun, shards: Shards, over: threading.Event) -> None:
    """Start the other flow runs; once `over`, cancel those that no Prefect worker has picked up."""
    place = {"run": run.run_id, "endpoint_url": run.context.endpoint_url}
    parameters = {**shards.parameters, **place}
    started: list[UUID] = []
    try:
        while len(started) < shards.number and not over.is_set():
            flow_run: Any = run_deployment(_DEPLOYMENT, parameters=parameters, timeout=0)
            started.append(flow_run.id)
        over.wait()
        with get_client(sync_client=True) as client:
            for one in started:
                state = client.read_flow_run(one).state
                if state is not None and state.is_scheduled():
                    ended: Any = Cancelled(message=f"run {run.run_id} was done without this shard")
                    client.set_flow_run_state(one, ended)
    except Exception as error:  # noqa: BLE001 - no error of Prefect may end the run
        get_run_logger().warning(
            "%d of %d shards were started: %s", len(started), shards.number, error
        )


@flow(name=_FLOW, flow_run_name="shard of run {run}", persist_result=False)
def inspect_shard(
    run: str,
    endpoint_url: str | None = None,
    host_block: str = "",
    store_block: str = "",
) -> int:
    """Share the detection of a run that another flow run leads; return the images inspected.

    Runs with the parameter shards start this flow themselves.

    Args:
        run: Id of the run.
        endpoint_url: Address of the model's API; empty for Amazon's.
        host_block: Name of the Lfv Host block for the model's host; empty for the worker's own
            settings.
        store_block: Name of the Lfv Store block for the results; empty for the worker's own
            settings.
    """
    settings = settings_of_blocks(store_block, host_block)
    settings = settings.model_copy(update={"endpoint_url": endpoint_url or settings.endpoint_url})
    check_shareable(settings, embedded=False)
    patience = settings.store_patience_seconds
    with open_store(settings.store_url, migrate=False, patience_seconds=patience) as store:
        if not store.leases.is_wanted(run):
            get_run_logger().info("run %s is over", run)
            return 0
        context = RunStarter(store, settings, settings.endpoint_url).join(run)
        control = RunControl()
        with Share(store, context, control, leads=False) as share:
            detect_claims(store, context, control, share)
        if control.ending not in (None, Ending.INTERRUPTED):
            raise InspectionError(f"{control.message}; the other workers continue")
        return control.done
