"""From a request to a run: which model it means, and which run continues."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from lfv.client.hosts import HostSpec, ModelState, open_host
from lfv.client.policy import Policy
from lfv.run.context import HOST_KIND, InspectionRequest, RunContext
from lfv.run.errors import LimitReached, RunNotResumable
from lfv.run.patience import with_patience
from lfv.settings import Settings
from lfv_store import ModelKey, NewRun, Run, Store, StoreError
from lfv_store.records import RunStatus

logger = logging.getLogger(__name__)

DISTRIBUTION = "lfv-pipeline"


@dataclass(frozen=True)
class Beginning:
    """Where runs begin: results go to `store`, the API answers at `endpoint_url`."""

    store: Store
    settings: Settings
    endpoint_url: str | None
    flow_run_id: str | None = None

    def begin(self, request: InspectionRequest) -> RunContext:
        """The run for a request: a new one, or the one this Prefect flow run began before.

        Raises `lfv.client.errors.ModelNotFound` when the model does not exist.
        """
        if self.flow_run_id is not None:
            earlier = self.store.runs.find_by_flow_run(self.flow_run_id)
            if earlier is not None:
                return self.resume(earlier.run_id)
        policy = Policy.from_dict(request.policy or {})
        model_version, state = self._look_up(request.project, request.model_version)
        run = self.store.runs.start(
            NewRun(
                run_id=str(uuid.uuid4()),
                project_name=request.project,
                model_version=model_version,
                host=HOST_KIND,
                source=request.source,
                policy=policy.to_dict(),
                started_at=datetime.now(UTC),
                model_id=self._register(request.project, model_version, state),
                triggered_by=request.triggered_by,
                flow_run_id=self.flow_run_id,
                code_version=code_version(),
                parameters=asdict(request) | {"policy": None},
            )
        )
        return self._context(run, request, state)

    def resume(self, run_id: str) -> RunContext:
        """A run that ended before all was inspected, set going again; the beginning of its id
        is enough.

        Raises `RunNotResumable` when there is no such run, or when its model is not what it was.
        """
        found = self.store.runs.find(run_id)
        if len(found) != 1:
            raise RunNotResumable(
                f"{'more than one' if found else 'no'} run has an id that begins with {run_id!r}; "
                "`lfv runs` lists them"
            )
        run = found[0]
        if run.model_id is None:
            raise RunNotResumable(
                f"run {run.run_id} ended before its model was known; begin a new run"
            )
        _, state = self._look_up(run.project_name, run.model_version)
        if self._register(run.project_name, run.model_version, state) != run.model_id:
            raise RunNotResumable(
                f"model {run.project_name} version {run.model_version} is not the one this run "
                "began with: it was deleted and trained again since; begin a new run"
            )
        run = self.store.runs.resume(run.run_id, flow_run_id=self.flow_run_id)
        return self._context(run, request_of(run), state)

    def _look_up(self, project: str, model_version: str) -> tuple[str, ModelState]:
        """The version that 'latest' stands for, and the model's state."""
        region = self.settings.region
        host = open_host(HostSpec(HOST_KIND, project, model_version, self.endpoint_url, region))
        try:
            return host.spec.model_version, host.describe()
        finally:
            host.close()

    def _register(self, project: str, model_version: str, state: ModelState) -> int:
        key = ModelKey(HOST_KIND, state.model_arn, project, model_version, state.created_at)
        return self.store.models.register(key)

    def _context(self, run: Run, request: InspectionRequest, state: ModelState) -> RunContext:
        if run.model_id is None:
            raise ValueError("a run that is set going has a model")
        told = (state.width, state.height) if state.width and state.height else None
        return RunContext(
            run_id=run.run_id,
            model_id=run.model_id,
            request=request,
            model_version=run.model_version,
            endpoint_url=self.endpoint_url,
            embedded=self.settings.endpoint_url is None,
            policy=run.policy,
            expected_size=told or self.store.models.image_size(run.model_id),
            planned_through=run.planned_through,
            settings=self.settings,
        )


@contextmanager
def recorded_ending(run: RunContext, store: Store) -> Iterator[None]:
    """Put on record how a run ends; an ending that cannot be recorded changes nothing else."""
    try:
        yield
    except LimitReached as error:
        _set_status(store, run.run_id, "interrupted", str(error))
        raise
    except Exception as error:
        _set_status(store, run.run_id, "failed", str(error))
        raise
    except BaseException as error:  # a signal, Prefect's cancellation, a time-out
        _set_status(store, run.run_id, "cancelled", _what_ended(error))
        raise
    else:
        with_patience(
            lambda: store.runs.set_status(run.run_id, "completed", None, datetime.now(UTC)),
            seconds=run.settings.store_patience_seconds,
        )


def _what_ended(error: BaseException) -> str:
    """In words, what an exception that is no error stands for."""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted from the keyboard"
    if isinstance(error, SystemExit):
        return "the process was told to end"
    return str(error) or type(error).__name__


def _set_status(store: Store, run_id: str, status: RunStatus, message: str) -> None:
    try:
        store.runs.set_status(run_id, status, message, datetime.now(UTC))
    except StoreError as error:
        logger.error("run %s ended %s, which could not be recorded: %s", run_id, status, error)


def request_of(run: Run) -> InspectionRequest:
    """The request that a run was begun with."""
    parameters: Mapping[str, Any] = run.parameters
    return InspectionRequest(**{**parameters, "policy": run.policy})


def code_version() -> str:
    """Version of this software."""
    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:
        return "unknown"
