"""The sweeper: stops models without leases, however their runs ended.

It needs the results database and the endpoints, but not Prefect. The flow `stop_idle_models` and
the command `lfv sweep` call it, and so can cron or a systemd timer.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from lfv.client.catalog import ModelEntry, model_entries
from lfv.client.errors import HostError, HostingError
from lfv.client.hosting import ensure_stopped
from lfv.client.hosts import HostSpec, open_host
from lfv.client.hosts.sagemaker import endpoint_name_of
from lfv.client.hosts.sagemaker.orphans import delete_endpoint, tagged_endpoints
from lfv.formats.host_kinds import BATCH_JOB, LOOKOUTVISION, SAGEMAKER
from lfv.run.embedded_service import is_embedded, running_service
from lfv.run.errors import ServiceNotStarted
from lfv.run.hosting.release import stop_hosting
from lfv.settings import Settings
from lfv_store import Hosting, Store

logger = logging.getLogger(__name__)

_THREADS = 8
_STATED = 200


@dataclass(frozen=True)
class SweptHosting:
    """A hosting without leases; `stopped` if its model is now seen stopped."""

    hosting_id: int
    project: str
    model_version: str
    requested_by: str
    stopped: bool
    problem: str | None = None


@dataclass(frozen=True)
class UnknownModel:
    """A model that is up without being known to any run; `stopped` if the sweep stopped it."""

    project: str
    model_version: str
    endpoint_url: str | None
    status: str
    stopped: bool = False


@dataclass(frozen=True)
class SweepReport:
    """The findings and actions of a sweep."""

    swept: tuple[SweptHosting, ...]
    unknown: tuple[UnknownModel, ...]
    unreachable: tuple[str, ...]

    @property
    def clean(self) -> bool:
        """Whether no unused model was found up in the places that could be checked."""
        return (
            all(hosting.stopped for hosting in self.swept)
            and all(model.stopped for model in self.unknown)
            and not self.unreachable
        )


def sweep(
    store: Store, settings: Settings, *, stop_unknown: bool = False, account: bool = False
) -> SweepReport:
    """Stop every model whose leases have all expired, and complete stops that failed half-way.

    Models that are up without being known to any run are reported, and stopped only with
    `stop_unknown`, because someone may be using them. They are searched for at the endpoint of the
    settings or in the service running on this machine, and where recent runs had their models.
    With `account`, the SageMaker account is searched too, even if the database has no run there:
    lfv tags everything it creates.
    """
    deadline = settings.stopping_deadline_seconds
    due = store.hostings.claim_sweepable(
        by=sweeper_name(), claim_for=timedelta(seconds=deadline + 60)
    )
    due = [hosting for hosting in due if _is_reachable(hosting.host_spec)]
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="sweep") as pool:
        swept = list(pool.map(lambda hosting: _sweep_one(store, hosting, deadline), due))
    unknown, unreachable = _look_for_unknown(store, settings, stop_unknown, account=account)
    return SweepReport(tuple(swept), tuple(unknown), tuple(unreachable))


def describe_swept(hosting: SweptHosting) -> str:
    """Describe the outcome of a hosting in one line."""
    outcome = "stopped" if hosting.stopped else f"STILL UP ({hosting.problem or 'not seen down'})"
    return (
        f"{hosting.project} version {hosting.model_version}, left by run {hosting.requested_by}: "
        f"{outcome}"
    )


def describe_left_up(report: SweepReport) -> list[str]:
    """Return a line for everything that may be up, unused and costing money."""
    lines = [describe_swept(hosting) for hosting in report.swept if not hosting.stopped]
    for model in report.unknown:
        if not model.stopped:
            where = model.endpoint_url or "Amazon"
            lines.append(
                f"{model.project} version {model.model_version} at {where} is {model.status} and "
                f"known to no run; stop it with `lfv sweep{_where_to_sweep(model)} --stop-unknown` "
                "if nobody uses it"
            )
    lines += [f"not checked: {place}" for place in report.unreachable]
    return lines


def _where_to_sweep(model: UnknownModel) -> str:
    """Return the options with which a sweep finds a model without a recorded run."""
    if not model.model_version.startswith(("endpoint/", "transform-job/")):
        return ""
    if model.endpoint_url is None:
        return " --account"
    return f" --host {SAGEMAKER} --endpoint-url {model.endpoint_url}"


def sweeper_name() -> str:
    """Return the name under which this process claims hostings."""
    return f"{socket.gethostname()}:{os.getpid()}"


def _is_reachable(host_spec: Mapping[str, Any]) -> bool:
    """Whether this machine can reach the host; an embedded service is local to its machine."""
    home = HostSpec.from_dict(host_spec).embedded_home
    return home is None or Path(home).is_dir()


def _sweep_one(store: Store, hosting: Hosting, deadline_seconds: float) -> SweptHosting:
    spec = HostSpec.from_dict(hosting.host_spec)
    stopped = stop_hosting(store, hosting, deadline_seconds=deadline_seconds)
    after = store.hostings.get(hosting.hosting_id)
    return SweptHosting(
        hosting_id=hosting.hosting_id,
        project=spec.project,
        model_version=spec.model_version,
        requested_by=hosting.requested_by,
        stopped=stopped,
        problem=None if stopped else after.stop_error,
    )


def _look_for_unknown(
    store: Store, settings: Settings, stop_unknown: bool, *, account: bool
) -> tuple[list[UnknownModel], list[str]]:
    unknown: list[UnknownModel] = []
    unreachable: list[str] = []
    places = _places(store.hostings.list(limit=_STATED), settings, account=account)
    with ExitStack() as stack:
        service = None
        if is_embedded(settings):
            try:
                service = stack.enter_context(running_service(settings))
            except ServiceNotStarted as error:
                unreachable.append(str(error))
        if service is not None:
            places.add((LOOKOUTVISION, service, settings.region))
        for kind, endpoint_url, region in sorted(places, key=str):
            try:
                if kind == SAGEMAKER:
                    unknown += _unknown_endpoints(
                        store, settings, endpoint_url, region, stop_unknown
                    )
                else:
                    unknown += _unknown_models(
                        store, settings, service, endpoint_url, region, stop_unknown
                    )
            except HostError as error:
                unreachable.append(f"{endpoint_url or 'Amazon'}: {error}")
    return unknown, unreachable


def _unknown_models(
    store: Store,
    settings: Settings,
    service: str | None,
    endpoint_url: str | None,
    region: str | None,
    stop_unknown: bool,
) -> list[UnknownModel]:
    """Return models of the Lookout for Vision API that are up and unknown to all runs."""
    up = [model for model in model_entries(endpoint_url, region) if model.is_up]
    # In this order: a run records what it is about to start.
    known = _known_models(store, settings, service)
    unknown = []
    for model in up:
        if (endpoint_url, model.project, model.version) not in known:
            stopped = stop_unknown and _stop(model, endpoint_url, region, settings)
            unknown.append(
                UnknownModel(model.project, model.version, endpoint_url, model.status, stopped)
            )
    return unknown


def _unknown_endpoints(
    store: Store,
    settings: Settings,
    endpoint_url: str | None,
    region: str | None,
    stop_unknown: bool,
) -> list[UnknownModel]:
    """Return SageMaker endpoints with lfv's tags that are unknown to all runs."""
    tagged = tagged_endpoints(endpoint_url, region)
    used = _open_specs(store)  # in this order: a run records what it is about to create
    known = {
        str(spec.options["job"]) if spec.kind == BATCH_JOB else endpoint_name_of(spec)
        for spec in used
        if spec.kind in {SAGEMAKER, BATCH_JOB} and spec.endpoint_url == endpoint_url
    }
    # One account may have several addresses, such as that of a VPC endpoint.
    runs = {spec.run_id for spec in used if spec.run_id}
    unknown = []
    for endpoint in tagged:
        if endpoint.name in known or endpoint.run_id in runs:
            continue
        stopped = False
        if stop_unknown:
            timeout = settings.stopping_deadline_seconds
            try:
                delete_endpoint(endpoint, endpoint_url, region, timeout=timeout)
                stopped = True
            except (HostError, HostingError) as error:
                logger.error("endpoint %s is not deleted: %s", endpoint.name, error)
        version = f"{'transform-job' if endpoint.is_job else 'endpoint'}/{endpoint.name}"
        unknown.append(
            UnknownModel(endpoint.project, version, endpoint_url, endpoint.status, stopped)
        )
    return unknown


def _places(
    hostings: Iterable[Hosting], settings: Settings, *, account: bool
) -> set[tuple[str, str | None, str | None]]:
    """Return where models may be up, as (kind of host, endpoint, region).

    That is the place in the settings, those of the last hostings, and with `account` the SageMaker
    account.
    """
    found: set[tuple[str, str | None, str | None]] = set()
    named = settings.endpoint_url is not None and settings.host == LOOKOUTVISION
    if named or settings.host == SAGEMAKER:
        found.add((settings.host, settings.endpoint_url, settings.region))
    if account and settings.host != SAGEMAKER:
        found.add((SAGEMAKER, None, settings.region))
    for hosting in hostings:
        spec = HostSpec.from_dict(hosting.host_spec)
        kind = SAGEMAKER if spec.kind == BATCH_JOB else spec.kind
        if kind in {LOOKOUTVISION, SAGEMAKER} and spec.embedded_home is None:
            found.add((kind, spec.endpoint_url, spec.region))
    return found


def _known_models(
    store: Store, settings: Settings, service: str | None
) -> set[tuple[str | None, str, str]]:
    """Return the models of open hostings as (endpoint, project, version).

    The embedded service gets a new port at each start; its models are now at `service`.
    """
    known = set()
    for spec in _open_specs(store):
        if spec.kind != LOOKOUTVISION:
            continue
        home = spec.embedded_home
        here = home is not None and Path(home).absolute() == settings.home.absolute()
        endpoint_url = service if here else spec.endpoint_url
        known.add((endpoint_url, spec.project, spec.model_version))
    return known


def _open_specs(store: Store) -> list[HostSpec]:
    return [HostSpec.from_dict(hosting.host_spec) for hosting in store.hostings.open()]


def _stop(
    model: ModelEntry, endpoint_url: str | None, region: str | None, settings: Settings
) -> bool:
    spec = HostSpec(LOOKOUTVISION, model.project, model.version, endpoint_url, region)
    with closing(open_host(spec)) as host:
        try:
            ensure_stopped(host, "stop-unknown", timeout=settings.stopping_deadline_seconds)
        except (HostError, HostingError) as error:
            logger.error("%s version %s is not stopped: %s", model.project, model.version, error)
            return False
    return True
