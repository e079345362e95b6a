"""Stops a model at once, no matter who started it, and records the stop."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import datetime

from lfv.client.hosting import ensure_stopped
from lfv.client.hosts import HostSpec, open_host
from lfv.formats.status import ModelStatus
from lfv.formats.words import count_of
from lfv.run.embedded_service import api_endpoint
from lfv.run.errors import ModelInUse
from lfv.run.hosting.release import is_recorded_stopped
from lfv.run.models.approvals import version_to_stop
from lfv.settings import Settings
from lfv_store import Hosting, Store, StoreError, open_store

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class StoppedModel:
    """A model that has stopped; `hosting_id` is its recorded hosting, None if there was none."""

    project: str
    model_version: str
    was_hosted: bool
    hosting_id: int | None
    stopped_at: datetime


def stop_model(
    settings: Settings,
    project: str,
    model_version: str = "latest",
    *,
    actor: str,
    force: bool = False,
    progress: Callable[[str], None] = logger.info,
) -> StoppedModel:
    """Stop a model and return once its host reports it stopped.

    A model in use by runs of the results database is stopped only with `force`. Those runs then
    end, and can be resumed. Version 'latest' is the one that runs would take: the approved one,
    else the newest.

    Raises:
        ModelInUse: Runs use the model, or the database is unavailable.
        lfv.client.errors.HostError: The host refuses.
        lfv.client.errors.HostingError: The model does not stop in time.
    """
    model_version = version_to_stop(settings, project, model_version, force=force)
    with ExitStack() as stack:
        url = stack.enter_context(api_endpoint(settings))
        spec = HostSpec(
            settings.host, project, model_version, url, settings.region, settings.host_options
        )
        host = stack.enter_context(closing(open_host(spec)))
        version = host.spec.model_version
        before = host.describe()
        hosting = _open_hosting(settings, before.model_arn, actor, force=force)
        if hosting is not None and hosting.live_leases and not force:
            raise ModelInUse(
                f"model {project} version {version} is used by "
                f"{count_of(hosting.live_leases, 'run')}; wait until none does "
                "(`lfv runs`), or stop the model anyway with --force"
            )
        if hosting is not None and hosting.live_leases:
            with _recording_store(
                settings, actor, "runs that use the model may start it again"
            ) as store:
                store.hostings.request_stop(hosting.hosting_id)
        outcome = ensure_stopped(
            host,
            f"stop-{hosting.hosting_id}" if hosting else f"stop-{project}-{version}",
            timeout=settings.stopping_deadline_seconds,
            is_settled=lambda: hosting is not None and _is_settled(settings, hosting.hosting_id),
            progress=progress,
        )
    if hosting is not None and (outcome.was_up or not _may_start(hosting)):
        # If that fails, the sweeper records it later.
        with _recording_store(settings, actor, "the stop is not recorded yet") as store:
            store.hostings.mark_stopped(hosting.hosting_id, outcome.stopped_at)
    was_hosted = before.status.is_up or before.status is ModelStatus.STOPPING_HOSTING
    return StoppedModel(
        project=project,
        model_version=version,
        was_hosted=outcome.was_up or was_hosted,
        hosting_id=hosting.hosting_id if hosting else None,
        stopped_at=outcome.stopped_at,
    )


def _open_hosting(settings: Settings, model_arn: str, actor: str, *, force: bool) -> Hosting | None:
    """Return the model's recorded hosting that is not over; None without one or a database."""
    file = settings.store_file
    if file is not None and not file.exists():
        return None
    try:
        with open_store(settings.store_url, actor=actor) as store:
            for hosting in store.hostings.open():
                if store.models.get(hosting.model_id).key.model_arn == model_arn:
                    return hosting
    except StoreError as error:
        if not force:
            raise ModelInUse(
                f"runs may be using the model, but the results database is unavailable ({error}); "
                "stop the model anyway with --force"
            ) from error
        logger.warning("the stop will not be recorded: %s", error)
    return None


def _is_settled(settings: Settings, hosting_id: int) -> bool:
    """Whether a run, a guard or the sweeper has seen the hosting stopped."""
    try:
        with open_store(settings.store_url, migrate=False) as store:
            return is_recorded_stopped(store, hosting_id)
    except StoreError:
        return False


def _may_start(hosting: Hosting) -> bool:
    """Whether a run may be starting the model. That run, or the sweeper, then stops it."""
    return hosting.hosted_at is None and hosting.live_leases > 0


@contextmanager
def _recording_store(settings: Settings, actor: str, warning: str) -> Iterator[Store]:
    """Yield the store; log `warning` if the database fails, because the model has to stop."""
    try:
        with open_store(settings.store_url, actor=actor) as store:
            yield store
    except StoreError as error:
        logger.warning("%s: %s", warning, error)
