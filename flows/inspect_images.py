"""The flow: manifest -> check -> start model -> detect -> store -> stop model -> report.

The model is stopped by plain code in a ``with`` block of the flow's own body, never by a task, a
sub-flow or a hook: those need the Prefect API, and stopping must not.
"""

# Annotations stay objects here: a served flow is sent to its process by value, and text that names
# what its body does not use (Annotated) could not be resolved there.

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast

from prefect import flow, get_run_logger, runtime
from prefect.futures import PrefectFuture
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner
from prefect.utilities.annotations import quote
from pydantic import Field

from lfv.client.manifests import manifest_digest, read_manifest
from lfv.client.policy import Policy
from lfv.run.connections import Connections, connected
from lfv.run.context import InspectionRequest, RunContext
from lfv.run.control import Ending, RunControl, controlled
from lfv.run.embedded_service import embedded_service
from lfv.run.errors import (
    InspectionError,
    LimitReached,
    ModelOutOfReach,
    ResultsNotStored,
    RunNotResumable,
)
from lfv.run.estimate import expected_cost
from lfv.run.hosting.hold import ModelHold
from lfv.run.progress import ProgressArtifact
from lfv.run.report import RunSummary
from lfv.run.start import recorded_ending
from lfv.settings import get_settings
from lfv_store import Store, open_store
from tasks.steps import (
    check_images,
    detect_anomalies,
    find_model,
    report,
    reuse_for_duplicates,
    start_model,
)

T = TypeVar("T")

#: Manifest lines in one task run of the check, which costs a fraction of asking.
CHECKED_TOGETHER = 500
#: The verdict policy where nobody gives one: reject what is anomalous with this confidence.
DEFAULT_CONFIDENCE = 0.8
# ThreadPoolTaskRunner is declared with a narrower future than flow() asks for.
_RUNNER = cast("TaskRunner[PrefectFuture[Any]]", ThreadPoolTaskRunner(max_workers=64))
_DRAIN_SECONDS = 2.0


# The form on the Prefect page takes the fields' descriptions from the docstring, and from there
# only: a description in Field is dropped.
@flow(
    name="inspect-images",
    flow_run_name="inspect {source} with {project}",
    task_runner=_RUNNER,
    persist_result=False,
    validate_parameters=True,
)
def inspect_images(
    source: str,
    project: str,
    model_version: str = "latest",
    confidence: Annotated[float | None, Field(ge=0, le=1)] = None,
    policy: str | dict[str, Any] | None = None,
    min_inference_units: Annotated[int, Field(ge=1)] = 1,
    max_inference_units: Annotated[int | None, Field(ge=1)] = None,
    again: bool = False,
    strict: bool = False,
    max_cost: Annotated[float | None, Field(gt=0)] = None,
    max_hosted_minutes: Annotated[float | None, Field(gt=0)] = None,
    triggered_by: str = "",
) -> RunSummary:
    """Inspect every image of a manifest with a Lookout for Vision model.

    The model is started when there is anything to ask, and stopped however the run ends.  Every
    line of the manifest ends as one inspection record in the results database.

    Args:
        source: Manifest (JSON Lines, CSV, text), folder, or s3://bucket/prefix/.
        project: Lookout for Vision project of the model.
        model_version: Version of the model; 'latest' is the newest that is trained.
        confidence: Reject anomalies from this confidence on, 0 to 1; empty for 0.8.  Not together
            with a policy.
        policy: Verdict policy: a YAML or JSON file on the worker's machine, or its content.
        min_inference_units: Inference units that are hosted, and billed, at least.
        max_inference_units: Inference units to scale up to; empty for no scaling.
        again: Ask again about images that this model has judged before.
        strict: End the run at the first manifest line that cannot be read.
        max_cost: US dollars after which the model is stopped; the run can be resumed.
        max_hosted_minutes: Minutes after which the model is stopped; the run can be resumed.
        triggered_by: Who or what asked for this run; kept with its results.
    """
    request = InspectionRequest(
        source=source,
        project=project,
        model_version=model_version,
        policy=_policy(policy, confidence).to_dict(),
        min_inference_units=min_inference_units,
        max_inference_units=max_inference_units,
        again=again,
        strict=strict,
        max_cost=max_cost,
        max_hosted_minutes=max_hosted_minutes,
        triggered_by=triggered_by or _trigger(),
    )
    return _inspect(request=request, resume=None)


@flow(
    name="resume-inspection",
    flow_run_name="resume run {run}",
    task_runner=_RUNNER,
    persist_result=False,
)
def resume_inspection(run: str) -> RunSummary:
    """Finish a run that ended before all was inspected; what is finished is not asked again.

    Args:
        run: Id of the run, or its beginning.
    """
    return _inspect(request=None, resume=run)


def _inspect(*, request: InspectionRequest | None, resume: str | None) -> RunSummary:
    settings = get_settings()
    with ExitStack() as stack:
        endpoint_url = settings.endpoint_url or stack.enter_context(embedded_service(settings))
        run = find_model(request, resume, settings, endpoint_url, _flow_run_id())
        store = stack.enter_context(open_store(settings.store_url))
        found = stack.enter_context(connected(run, store))
        control = stack.enter_context(controlled(run.run_id))
        with recorded_ending(run, store):
            try:
                _plan(run, found, control)
                _ask(run, found, control)
            except InspectionError:
                report(run)  # what there is so far
                raise
        return report(run)


def _plan(run: RunContext, found: Connections, control: RunControl) -> None:
    """Everything that can be known without the model."""
    store, reader = found.store, found.reader
    stored = store.runs.get(run.run_id)
    if stored.manifest_lines is not None:
        return
    digest = manifest_digest(run.request.source, reader)
    if stored.manifest_sha256 not in {None, digest}:
        raise RunNotResumable(
            f"{run.request.source} is not what it was when run {run.run_id} began; begin a new run"
        )
    store.runs.set_manifest(run.run_id, digest, None)
    done = run.planned_through
    lines = read_manifest(run.request.source, reader, strict=run.request.strict)
    for batch in _batches((line for line in lines if line.line_number > done), CHECKED_TOGETHER):
        check_images(run, quote(batch), batch[0].line_number, batch[-1].line_number)
        control.tell("plan", f"{batch[-1].line_number} manifest lines checked")
    counts = store.inspections.counts(run.run_id)
    store.runs.set_manifest(run.run_id, digest, counts.total)
    get_run_logger().info(
        "%d images: %d answers are known, %d cannot be inspected, %d to ask the model about",
        counts.total,
        counts.reused,
        counts.errors,
        counts.pending,
    )


def _ask(run: RunContext, found: Connections, control: RunControl) -> None:
    """Ask the model about what is left; a run with nothing left never starts it."""
    store = found.store
    if store.inspections.pending(run.run_id, limit=1):
        waiting = store.inspections.counts(run.run_id).pending
        logger = get_run_logger()
        logger.info(expected_cost(run, store, waiting))
        with ModelHold(run, store, found.host, control) as hold:
            adopted = start_model(run.run_id)
            logger.info("the model is hosted%s", ", by somebody else" if adopted else "")
            control.expect(waiting)
            with ProgressArtifact(control, waiting):
                threads = run.threads_per_batch(waiting)
                while _fan_out(run, store, control, threads) is Ending.MODEL_LOST:
                    logger.warning("the model is down, starting it again: %s", control.message)
                    hold.restart()
        logger.info("%d of %d images have their record; %s", control.done, waiting, hold.outcome)
    if store.inspections.pending(run.run_id, duplicate=True, limit=1):
        reuse_for_duplicates(run)
    _refuse_unfinished(run, store, control)


def _fan_out(run: RunContext, store: Store, control: RunControl, threads: int) -> Ending | None:
    """Ask about everything pending, a bounded number of batches at a time; why it ended early."""
    under_way: deque[PrefectFuture[Any]] = deque()
    try:
        after_line = 0
        while not control.stop.is_set() and (
            batch := store.inspections.pending(
                run.run_id, after_line=after_line, limit=run.settings.batch_size
            )
        ):
            if len(under_way) >= run.settings.batches_in_flight:
                under_way[0].result()  # counts as under way until it is known to have ended
                under_way.popleft()
            first_line, after_line = batch[0].line_number, batch[-1].line_number
            under_way.append(
                detect_anomalies.submit(run, quote(batch), threads, first_line, after_line)
            )
        while under_way:
            under_way[0].result()
            under_way.popleft()
    except BaseException:
        control.end(Ending.INTERRUPTED)
        # Answers under way are paid for: let them be stored before the model is stopped.
        for future in under_way:
            future.wait(_DRAIN_SECONDS)
        raise
    return control.ending


def _refuse_unfinished(run: RunContext, store: Store, control: RunControl) -> None:
    """Raise why the run ended before everything was asked, if it did."""
    counts = store.inspections.counts(run.run_id)
    if counts.pending == 0:
        return
    left = f"{counts.pending} of {counts.total} images are left; resume with"
    message = f"{control.message}: {left} `lfv inspect --resume {run.run_id}`"
    raise _ENDINGS.get(control.ending, InspectionError)(message)


_ENDINGS: dict[Ending | None, type[InspectionError]] = {
    Ending.LIMIT: LimitReached,
    Ending.OUT_OF_REACH: ModelOutOfReach,
    Ending.STORE: ResultsNotStored,
}


def _policy(policy: str | dict[str, Any] | None, confidence: float | None) -> Policy:
    if policy is None:
        return Policy.from_confidence(DEFAULT_CONFIDENCE if confidence is None else confidence)
    if confidence is not None:
        raise ValueError("give a confidence or a policy, not both: a policy has its own limits")
    return Policy.from_dict(policy) if isinstance(policy, dict) else Policy.load(Path(policy))


def _trigger() -> str:
    """Who asked, as far as Prefect knows."""
    deployment = runtime.deployment.name
    return f"deployment {deployment}" if deployment else ""


def _flow_run_id() -> str | None:
    return str(runtime.flow_run.id) if runtime.flow_run.id else None


def _batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
