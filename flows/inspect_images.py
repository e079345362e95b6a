"""The flow: manifest -> check -> start model -> detect -> store -> stop model -> report.

The model is stopped by plain code in a ``with`` block of the flow's own body, never by a task, a
sub-flow or a hook: those need the Prefect API, and stopping must not.
"""

# Annotations stay objects here: a served flow is sent to its process by value, and text that names
# what its body does not use (Annotated) could not be resolved there.

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast

from prefect import flow, get_run_logger, runtime
from prefect.futures import PrefectFuture
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner
from prefect.utilities.annotations import quote
from pydantic import Field

from flows.progress import ProgressArtifact
from lfv.client.manifests import manifest_digest, read_manifest
from lfv.client.policy import Policy
from lfv.formats.labels import LabelNames
from lfv.formats.layout import Skipped
from lfv.formats.manifest.groundtruth import INSPECTION
from lfv.run.active import ActiveRun, open_run
from lfv.run.completion import refuse_empty
from lfv.run.context import InspectionRequest, NewLimits
from lfv.run.control import Ending, RunControl
from lfv.run.detect import DetectedBatch
from lfv.run.embedded_service import api_endpoint
from lfv.run.errors import (
    InspectionError,
    LimitReached,
    ModelOutOfReach,
    ResultsNotStored,
    RunNotResumable,
)
from lfv.run.estimate import expected_cost
from lfv.run.hosting.hold import ModelHold
from lfv.run.lookup import find_run
from lfv.run.report import report_run
from lfv.run.start import RunStarter, recorded_ending
from lfv.run.summary import RunSummary
from lfv.settings import HostKind, get_settings
from lfv_store import open_store
from tasks.check_images import check_images
from tasks.detect_anomalies import detect_anomalies
from tasks.find_model import find_model
from tasks.report import publish, report
from tasks.reuse_for_duplicates import reuse_for_duplicates
from tasks.start_model import start_model

T = TypeVar("T")

#: Manifest lines in one task run of the check, which costs a fraction of detection.
CHECKED_TOGETHER = 500
#: The confidence limit of the verdict policy when neither is given.
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
    allow_empty: bool = False,
    normal: list[str] | None = None,
    anomaly: list[str] | None = None,
    max_cost: Annotated[float | None, Field(gt=0)] = None,
    max_hosted_minutes: Annotated[float | None, Field(gt=0)] = None,
    triggered_by: str = "",
    host: HostKind | None = None,
    host_options: dict[str, str] | None = None,
) -> RunSummary:
    """Inspect every image of a manifest with a Lookout for Vision model.

    The model is started if any image needs it, and stopped however the run ends.  Every line of
    the manifest ends as one inspection record in the results database.

    Args:
        source: Manifest (JSON Lines, CSV, text), folder, or s3://bucket/prefix/.
        project: Lookout for Vision project of the model.
        model_version: Version of the model; 'latest' is the newest that is trained.
        confidence: Confidence a verdict needs, 0 to 1: from it on, anomalous images are rejected
            and normal ones accepted; the rest goes to review.  Empty for 0.8.  Not together with
            a policy.
        policy: Verdict policy: a YAML or JSON file on the worker's machine, or its content.
        min_inference_units: Inference units that are hosted, and billed, at least.
        max_inference_units: Inference units to scale up to; empty for no scaling.
        again: Run detection again on images that this model has judged before.
        strict: End the run at the first manifest line that cannot be read.
        allow_empty: Complete a run whose source has no image; otherwise such a run fails.
        normal: Names of folders and labels that mean normal, beside normal, good, ok and pass.
        anomaly: Names of folders and labels that mean an anomaly, beside anomaly, bad, nok and
            fail.
        max_cost: US dollars after which the model is stopped; the run can be resumed.
        max_hosted_minutes: Minutes after which the model is stopped; the run can be resumed.
        triggered_by: Who or what started this run; stored with its results.
        host: Where the model lives; empty for the setting LFV_HOST.
        host_options: What that kind of host alone understands, by name; on top of the setting
            LFV_HOST_OPTIONS.
    """
    settings = get_settings()
    request = InspectionRequest(
        source=source,
        project=project,
        model_version=model_version,
        policy=_policy(policy, confidence).to_dict(),
        min_inference_units=min_inference_units,
        max_inference_units=max_inference_units,
        again=again,
        strict=strict,
        allow_empty=allow_empty,
        normal=tuple(normal or ()),
        anomaly=tuple(anomaly or ()),
        max_cost=max_cost,
        max_hosted_minutes=max_hosted_minutes,
        triggered_by=triggered_by or _trigger(),
        host=host or settings.host,
        host_options={**settings.host_options, **(host_options or {})},
    )
    return _inspect(request)


@flow(
    name="resume-inspection",
    flow_run_name="resume run {run}",
    task_runner=_RUNNER,
    persist_result=False,
)
def resume_inspection(
    run: str,
    max_cost: Annotated[float | None, Field(gt=0)] = None,
    max_hosted_minutes: Annotated[float | None, Field(gt=0)] = None,
) -> RunSummary:
    """Finish a run that ended early; images that have their record are left alone.

    Args:
        run: Id of the run or its first characters, id of its Prefect flow run, or 'last'.
        max_cost: US dollars after which the model is stopped again; empty for the run's own limit.
        max_hosted_minutes: Minutes after which the model is stopped again; empty for the run's
            own limit.
    """
    return _inspect(None, run, NewLimits(max_cost, max_hosted_minutes))


def _inspect(
    request: InspectionRequest | None, resume: str | None = None, limits: NewLimits | None = None
) -> RunSummary:
    settings = get_settings()
    with ExitStack() as stack:
        store = stack.enter_context(
            open_store(settings.store_url, patience_seconds=settings.store_patience_seconds)
        )
        host = request.host if request is not None else find_run(store, resume or "").host
        endpoint_url = stack.enter_context(api_endpoint(settings, host=host))
        starter = RunStarter(store, settings, endpoint_url, _flow_run_id())
        context = find_model(starter, request, resume, limits)
        run = stack.enter_context(open_run(context, store))
        try:
            with recorded_ending(context, store):
                _plan(run)
                _detect(run)
                refuse_empty(run)
        except BaseException as error:
            summary = _report_early_end(run)
            if isinstance(error, InspectionError):
                error.summary = summary
            raise
        return report(run)


def _report_early_end(run: ActiveRun) -> RunSummary | None:
    """Report what there is when a run ends with an error or is cancelled.

    No task: a flow run that is being cancelled starts none.  Nothing here hides the error.
    """
    try:
        store = run.store.with_patience(0)
        reported = report_run(run.run_id, store, run.reader, run.settings)
        publish(reported)
    except Exception as error:  # noqa: BLE001 - the run's own error is the one to raise
        get_run_logger().warning("run %s is not reported: %s", run.run_id, error)
        return None
    return reported.summary


def _plan(run: ActiveRun) -> None:
    """Find out everything that does not need the model."""
    store, source = run.store, run.context.request.source
    stored = store.runs.get(run.run_id)
    if stored.manifest_lines is not None:
        return
    digest = manifest_digest(source, run.reader)
    if stored.manifest_sha256 not in {None, digest}:
        raise RunNotResumable(
            f"{source} has changed since run {run.run_id} was started; start a new run"
        )
    store.runs.set_manifest(run.run_id, digest, None)
    done = run.context.planned_through
    skipped = Skipped()
    request = run.context.request
    profile = replace(INSPECTION, names=LabelNames.of(request.normal, request.anomaly))
    lines = read_manifest(
        source, run.reader, strict=request.strict, profile=profile, skipped=skipped
    )
    for batch in _batches((line for line in lines if line.line_number > done), CHECKED_TOGETHER):
        check_images(run, quote(batch), batch[0].line_number, batch[-1].line_number)
        run.control.notify("plan", f"{batch[-1].line_number} manifest lines checked")
    counts = store.inspections.counts(run.run_id)
    store.runs.set_manifest(run.run_id, digest, counts.total, skipped.reasons)
    if skipped.reasons:
        get_run_logger().warning("%s", skipped)
        run.control.notify("plan", str(skipped))
    get_run_logger().info(
        "%d images: %d answers are known, %d cannot be inspected, %d need detection",
        counts.total,
        counts.reused,
        counts.errors,
        counts.pending,
    )


def _detect(run: ActiveRun) -> None:
    """Run detection on what is pending; with nothing pending the model is never started."""
    store, control = run.store, run.control
    if store.inspections.pending(run.run_id, limit=1):
        pending = store.inspections.counts(run.run_id).pending
        logger = get_run_logger()
        logger.info(expected_cost(run, pending))
        with ModelHold(run) as hold:
            adopted = start_model(hold)
            logger.info("the model is hosted%s", ", started by somebody else" if adopted else "")
            control.expect(pending)
            with ProgressArtifact(control, pending):
                while _fan_out(run, pending) is Ending.MODEL_LOST:
                    logger.warning("the model is down, starting it again: %s", control.message)
                    hold.restart()
        logger.info("%d of %d images have their record; %s", control.done, pending, hold.outcome)
    if store.inspections.pending(run.run_id, duplicate=True, limit=1):
        reuse_for_duplicates(run)
    _refuse_unfinished(run)


def _fan_out(run: ActiveRun, pending: int) -> Ending | None:
    """Submit everything pending, a bounded number of batches at a time; return why it ended."""
    control, settings = run.control, run.settings
    threads = run.context.threads_per_batch(pending)
    in_flight: deque[PrefectFuture[Any]] = deque()
    try:
        after_line = 0
        while not control.stop.is_set() and (
            batch := run.store.inspections.pending(
                run.run_id, after_line=after_line, limit=settings.batch_size
            )
        ):
            if len(in_flight) >= settings.batches_in_flight:
                _finish(in_flight, control)
            first_line, after_line = batch[0].line_number, batch[-1].line_number
            in_flight.append(
                detect_anomalies.submit(run, quote(batch), threads, first_line, after_line)
            )
        while in_flight:
            _finish(in_flight, control)
    except BaseException:
        control.end(Ending.INTERRUPTED)
        # Answers in flight are paid for: let them be stored before the model is stopped.
        for future in in_flight:
            future.wait(_DRAIN_SECONDS)
        raise
    return control.ending


def _finish(in_flight: deque[PrefectFuture[Any]], control: RunControl) -> None:
    """Wait for the oldest batch, and end the run if the batch found that it cannot go on."""
    batch: DetectedBatch = in_flight[0].result()
    in_flight.popleft()  # only now: a batch whose wait is interrupted is still in flight
    if batch.ending is not None:
        control.end(batch.ending, batch.message)


def _refuse_unfinished(run: ActiveRun) -> None:
    """Raise why detection ended early, if it did."""
    counts = run.store.inspections.counts(run.run_id)
    if counts.pending == 0:
        return
    control = run.control
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
    """What started this flow run, as far as Prefect knows."""
    deployment = runtime.deployment.name
    return f"deployment {deployment}" if deployment else ""


def _flow_run_id() -> str | None:
    return str(runtime.flow_run.id) if runtime.flow_run.id else None


def _batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
