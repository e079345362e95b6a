"""Starts or resumes a run, and records how it ends."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from lfv.client.hosts import ModelState, open_host
from lfv.client.policy import Policy
from lfv.run.context import (
    InspectionRequest,
    NewLimits,
    RunContext,
    model_spec,
)
from lfv.run.embedded_service import is_embedded
from lfv.run.errors import EndedByOperator, LimitReached, RunNotResumable
from lfv.run.fit_records import fit_of_training
from lfv.run.lookup import find_run
from lfv.run.models.approvals import approval_for, approval_text, check_approved
from lfv.run.models.training_records import copy_training_record
from lfv.settings import Settings
from lfv_store import ModelKey, NewRun, Run, Store, StoreError
from lfv_store.records.runs import RunStatus

logger = logging.getLogger(__name__)

DISTRIBUTION = "lfv-pipeline"


def begin_run(store: Store, request: InspectionRequest, flow_run_id: str | None = None) -> Run:
    """Record a run for a request, before its model is looked up.

    A retried Prefect flow run gets the run of its first attempt.
    """
    if flow_run_id is not None:
        earlier = store.runs.find_by_flow_run(flow_run_id)
        if earlier is not None:
            return earlier
    return store.runs.start(
        NewRun(
            run_id=str(uuid.uuid4()),
            project_name=request.project,
            model_version=request.model_version,
            host=request.host,
            source=request.source,
            policy=Policy.from_dict(request.policy or {}).to_dict(),
            started_at=datetime.now(UTC),
            triggered_by=request.triggered_by,
            flow_run_id=flow_run_id,
            code_version=code_version(),
            parameters=_parameters(request),
        )
    )


class RunStarter:
    """Finds the models of runs in `store`, with the model's API at `endpoint_url`."""

    def __init__(
        self,
        store: Store,
        settings: Settings,
        endpoint_url: str | None,
        flow_run_id: str | None = None,
    ) -> None:
        self.store = store
        self.settings = settings
        self.endpoint_url = endpoint_url
        self.flow_run_id = flow_run_id

    def proceed(self, run: Run, limits: NewLimits | None = None) -> RunContext:
        """Find the model of a new or resumed run.

        A run of version 'latest' gets the approved version of its project, if there is one.

        Raises:
            lfv.client.errors.ModelNotFound: The model does not exist.
            ModelNotApproved: The approved version is another model here.
            RunNotResumable: The model of a resumed run has changed.
        """
        request = request_of(run)
        if run.model_id is None:
            model_version, state, request, model_id = self._find_model(request)
            self._mark_running(run)
            run = self.store.runs.set_model(
                run.run_id, model_id, model_version, _parameters(request)
            )
        else:
            _, state = self._describe_model(request, run.model_version)
            if self._register(request, run.model_version, state) != run.model_id:
                raise RunNotResumable(
                    f"model {run.project_name} version {run.model_version} is not the one this run "
                    "started with: it was deleted and trained again since; start a new run"
                )
            run = self.store.runs.resume(run.run_id, flow_run_id=self.flow_run_id)
        return self._context(run, limits.applied_to(request) if limits else request)

    def _mark_running(self, run: Run) -> None:
        """Mark a run as resumed unless this flow run has just started it."""
        another = self.flow_run_id is not None and run.flow_run_id != self.flow_run_id
        if run.status != "running" or another:
            self.store.runs.resume(run.run_id, flow_run_id=self.flow_run_id)

    def _find_model(
        self, request: InspectionRequest
    ) -> tuple[str, ModelState, InspectionRequest, int]:
        """Return version, state and id of the model, and the request with what follows from it."""
        approval = approval_for(self.store, request.project, request.model_version, request.host)
        wanted = approval.model_version if approval is not None else None
        model_version, state = self._describe_model(request, wanted or request.model_version)
        model_id = self._register(request, model_version, state)
        if approval is not None:
            check_approved(approval, model_id)
            request = replace(request, approval=approval.approval_id)
            logger.info("version %s is %s", model_version, approval_text(approval))
        trainings = self.store.trainings.of_model(model_id)
        fit = fit_of_training(next(iter(trainings), None))
        if request.fit is None and fit is not None:
            request = replace(request, fit=str(fit))
        return model_version, state, request, model_id

    def join(self, run_id: str) -> RunContext:
        """Return the context of a run that another process leads.

        Raises:
            RunNotFound: There is no such run.
        """
        found = find_run(self.store, run_id)
        request = request_of(found)
        # A process that cannot reach the model fails here, before it claims images.
        self._describe_model(request, found.model_version)
        return self._context(found, request)

    def _describe_model(
        self, request: InspectionRequest, model_version: str
    ) -> tuple[str, ModelState]:
        """Return the requested model version and the model's state."""
        spec = model_spec(request, model_version, self.endpoint_url, self.settings)
        with closing(open_host(spec)) as host:
            return host.spec.model_version, host.describe()

    def _register(self, request: InspectionRequest, model_version: str, state: ModelState) -> int:
        key = ModelKey(
            request.host, state.model_arn, request.project, model_version, state.created_at
        )
        model_id = self.store.models.register(key)
        if state.training:
            copy_training_record(self.store, model_id, key, state.training)
        return model_id

    def _context(self, run: Run, request: InspectionRequest) -> RunContext:
        if run.model_id is None:
            raise ValueError("a run in progress has a model")
        return RunContext(
            run_id=run.run_id,
            model_id=run.model_id,
            request=request,
            model_version=run.model_version,
            endpoint_url=self.endpoint_url,
            embedded=is_embedded(self.settings, request.host),
            policy=run.policy,
            expected_size=self.store.models.image_size(run.model_id),
            planned_through=run.planned_through,
            settings=self.settings,
        )


@dataclass
class RunEnding:
    """How a run ends: the message of a completed run, if any."""

    message: str | None = None


@contextmanager
def record_failure(run_id: str, store: Store) -> Iterator[None]:
    """Record how a run ends if it fails. Failing to record an error does not hide that error."""
    try:
        yield
    except (LimitReached, EndedByOperator) as error:
        _set_status(store, run_id, "interrupted", str(error))
        raise
    except Exception as error:
        _set_status(store, run_id, "failed", str(error))
        raise
    except BaseException as error:  # a signal, Prefect's cancellation, a time-out
        _set_status(store, run_id, "cancelled", describe_end(error))
        raise


@contextmanager
def record_ending(run: RunContext, store: Store) -> Iterator[RunEnding]:
    """Record how a run ends."""
    ending = RunEnding()
    with record_failure(run.run_id, store):
        yield ending
    store.runs.set_status(run.run_id, "completed", ending.message, datetime.now(UTC))


def describe_end(error: BaseException) -> str:
    """Describe an exception that ends a run without being an error."""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted from the keyboard"
    # Prefect's TerminationSignal, which has no text, names the signal.
    if isinstance(error, SystemExit) or hasattr(error, "signal"):
        return "the process was terminated"
    return str(error) or type(error).__name__


def _set_status(store: Store, run_id: str, status: RunStatus, message: str) -> None:
    try:
        store.runs.set_status(run_id, status, message, datetime.now(UTC))
    except StoreError as error:
        logger.error("the end of run %s (%s) could not be recorded: %s", run_id, status, error)


def _parameters(request: InspectionRequest) -> dict[str, Any]:
    """Return the parameters of a run; its policy is stored apart."""
    return asdict(request) | {"policy": None}


def request_of(run: Run) -> InspectionRequest:
    """Return the request that a run was started with."""
    parameters: Mapping[str, Any] = run.parameters
    return InspectionRequest(**{**parameters, "policy": run.policy})


def code_version() -> str:
    """Return the version of this software."""
    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:
        return "unknown"
