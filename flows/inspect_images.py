"""The flow: manifest -> check -> start model -> detect -> store -> stop model -> report.

A ``with`` block in the flow's body stops the model. Tasks, sub-flows and hooks would need the
Prefect API, and stopping must not depend on it.
"""

# No postponed annotations here: a served flow is pickled by value, and its process could not
# resolve names that only annotations use.

from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from prefect import flow, get_run_logger
from prefect.states import Completed
from pydantic import Field

from flows import prefect_variables
from flows.blocks import settings_of_blocks
from flows.events import RunEvents
from flows.fan_out import fan_out
from flows.naming import run_name, started_by
from flows.parameters import HostOptions, PolicyFields
from flows.pause import ask_to_continue
from flows.plan import plan_run
from flows.progress import ProgressArtifact
from flows.recorded_run import emit_failure, flow_run_id, open_recorded_run
from flows.run_slots import place_at_model
from flows.shards import Shards, share_out
from flows.task_runners import task_runner
from lfv.client.policy import Policy
from lfv.formats.words import count_of
from lfv.run.active import ActiveRun
from lfv.run.completion import check_completed
from lfv.run.context import InspectionRequest, NewLimits
from lfv.run.control import Ending, announce_run
from lfv.run.defaults import DEFAULT_CONFIDENCE, DEFAULT_SETTLE_SECONDS
from lfv.run.detection.batch import detect_in_batches
from lfv.run.embedded_service import endpoint_ahead
from lfv.run.errors import (
    EndedByOperator,
    InspectionError,
    LimitReached,
    ModelOutOfReach,
    ResultsNotStored,
)
from lfv.run.estimate import expected_cost
from lfv.run.hosting.guard_client import guard_ahead
from lfv.run.hosting.hold import ModelHold
from lfv.run.lookup import find_unfinished_run
from lfv.run.modes import InspectionMode, check_mode
from lfv.run.new_images import keep_claims
from lfv.run.reject_watch import watch_reject_rate
from lfv.run.report import report_run
from lfv.run.start import begin_run, record_ending, record_failure
from lfv.run.summary import RunSummary
from lfv.run.verdicts.decide import extend_decision
from lfv.settings import HostKind, Settings
from lfv_store import Store, open_store
from tasks.report import publish, report
from tasks.reuse_for_duplicates import reuse_for_duplicates
from tasks.start_model import start_model

_RUNNER = task_runner()


# The form on the Prefect page takes descriptions from this docstring and ignores those of Field.
@flow(
    name="inspect-images",
    flow_run_name=run_name,
    task_runner=_RUNNER,
    persist_result=False,
    validate_parameters=True,
)
def inspect_images(
    source: str,
    project: str,
    model_version: str = "latest",
    confidence: Annotated[float | None, Field(ge=0, le=1)] = None,
    policy: PolicyFields | Annotated[str, Field(title="File")] | None = None,
    min_inference_units: Annotated[int, Field(ge=1)] = 1,
    max_inference_units: Annotated[int | None, Field(ge=1)] = None,
    again: bool = False,
    strict: bool = False,
    allow_empty: bool = False,
    new_only: bool = False,
    settle_seconds: Annotated[float, Field(ge=0)] = DEFAULT_SETTLE_SECONDS,
    normal: list[str] | None = None,
    anomaly: list[str] | None = None,
    max_cost: Annotated[float | None, Field(gt=0)] = None,
    max_hosted_minutes: Annotated[float | None, Field(gt=0)] = None,
    pause_at_reject_rate: Annotated[float | None, Field(gt=0, le=1)] = None,
    pause_minutes: Annotated[float, Field(gt=0)] = 60.0,
    triggered_by: str = "",
    host: HostKind | None = None,
    host_options: HostOptions | None = None,
    host_block: str = "",
    store_block: str = "",
    mode: Literal["live", "batch"] = "live",
    shards: Annotated[int, Field(ge=0)] = 0,
) -> RunSummary:
    """Inspect every image of a manifest with a Lookout for Vision model.

    The model is started if any image needs it, and stopped however the run ends. Every line of the
    manifest becomes one inspection record in the results database.

    Args:
        source: Manifest (JSON Lines, CSV, text), folder, or s3://bucket/prefix/.
        project: Lookout for Vision project of the model.
        model_version: Version of the model; 'latest' is the approved one or, without one,
            the newest trained one.
        confidence: Confidence that a verdict needs, 0 to 1. Anomalous images with at least this
            confidence are rejected, normal ones accepted, and the others reviewed. Empty for 0.8.
            Cannot be combined with a policy. Without either, the Prefect variable lfv_policy
            applies.
        policy: Verdict policy: a YAML or JSON file on the worker's machine, or its content.
        min_inference_units: Minimum number of inference units that are hosted and billed.
        max_inference_units: Inference units to scale up to; empty for no scaling.
        again: Run detection again on images that this model has already judged.
        strict: Fail at the first manifest line that cannot be read.
        allow_empty: Complete a run whose source has no image; otherwise such a run fails.
        new_only: Inspect only what no earlier run of this source and project has inspected. The
            source must be a folder or s3://bucket/prefix/.
        settle_seconds: With new_only, how long a file must be unchanged. Files that are still
            being written are left to the next run.
        normal: Names of folders and labels that mean normal, in addition to normal, good, ok and
            pass.
        anomaly: Names of folders and labels that mean an anomaly, in addition to anomaly, bad, nok
            and fail.
        max_cost: US dollars after which the model is stopped; the run can be resumed. Empty for
            the Prefect variable lfv_max_cost.
        max_hosted_minutes: Minutes after which the model is stopped; the run can be resumed.
        pause_at_reject_rate: Share of rejected images, 0 to 1, from which the run stops the model
            and asks on its page whether to continue; empty for never.
        pause_minutes: How long the run waits for the answer before it ends.
        triggered_by: Who or what started this run; stored with its results.
        host: Kind of host of the model; empty for the setting LFV_HOST.
        host_options: Options of that kind of host, in addition to the setting LFV_HOST_OPTIONS.
        host_block: Name of the Lfv Host block for the model's host; empty for the worker's own
            settings.
        store_block: Name of the Lfv Store block for the results; empty for the worker's own
            settings.
        mode: 'batch' uses a SageMaker batch transform job instead of an endpoint.
        shards: Number of other flow runs that share detection, on any machine with a worker of the
            deployment inspect-shard/shard. Needs PostgreSQL.
    """
    settings = settings_of_blocks(store_block, host_block)
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
        new_only=new_only,
        settle_seconds=settle_seconds,
        normal=tuple(normal or ()),
        anomaly=tuple(anomaly or ()),
        max_cost=prefect_variables.max_cost() if max_cost is None else max_cost,
        max_hosted_minutes=max_hosted_minutes,
        pause_at_reject_rate=pause_at_reject_rate,
        pause_minutes=pause_minutes,
        triggered_by=started_by(triggered_by),
        host=host or settings.host,
        host_options={
            **settings.host_options,
            **(host_options.options() if host_options else {}),
        },
        mode=mode,
    )
    check_mode(request.mode, request.host, settings)
    sharing = Shards(shards, {"store_block": store_block, "host_block": host_block})
    reject_rate_limit = prefect_variables.reject_rate_limit()
    with ExitStack() as stack:
        # Each takes a second, so both run in parallel with the first steps.
        stack.enter_context(guard_ahead(settings))
        stack.enter_context(endpoint_ahead(settings, host=request.host))
        store = stack.enter_context(_open_store(settings))
        sharing.check(settings, request.host)
        announce_run()
        begun = begin_run(store, request, flow_run_id())
        announce_run(begun.run_id)
        with emit_failure(begun), record_failure(begun.run_id, store):
            run = open_recorded_run(stack, settings, store, begun)
        return _inspect(run, sharing, reject_rate_limit)


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
    host_block: str = "",
    store_block: str = "",
    shards: Annotated[int, Field(ge=0)] = 0,
) -> RunSummary:
    """Finish a run that ended early. Images that already have a record are skipped.

    Args:
        run: Id of the run or its first characters, id of its Prefect flow run, or 'last'.
        max_cost: US dollars after which the model is stopped again; empty for the run's own limit.
        max_hosted_minutes: Minutes after which the model is stopped again; empty for the run's
            own limit.
        host_block: Name of the Lfv Host block for the model's host; empty for the worker's own
            settings.
        store_block: Name of the Lfv Store block for the results; empty for the worker's own
            settings.
        shards: Number of other flow runs that share detection. Needs PostgreSQL.
    """
    settings = settings_of_blocks(store_block, host_block)
    sharing = Shards(shards, {"store_block": store_block, "host_block": host_block})
    reject_rate_limit = prefect_variables.reject_rate_limit()
    with guard_ahead(settings), _open_store(settings) as store, ExitStack() as stack:
        found = find_unfinished_run(store, run)
        sharing.check(settings, found.host)
        announce_run()
        limits = NewLimits(max_cost, max_hosted_minutes)
        with emit_failure(found):  # if it cannot be resumed, the record of its end is kept
            resumed = open_recorded_run(stack, settings, store, found, limits)
        announce_run(found.run_id)
        return _inspect(resumed, sharing, reject_rate_limit)


def _open_store(settings: Settings) -> Store:
    return open_store(settings.store_url, patience_seconds=settings.store_patience_seconds)


def _inspect(run: ActiveRun, shards: Shards, reject_rate_limit: float) -> RunSummary:
    """Inspect the images of a run that are left, and report it.

    If the run found nothing new, the summary is wrapped in a state for Prefect's page.
    """
    events = RunEvents(run.context)
    events.report_start()
    try:
        with record_ending(run.context, run.store) as ending, keep_claims(run):
            plan_run(run)
            _detect(run, events, shards)
            extend_decision(run.store, run.run_id)
            ending.message = check_completed(run)
    except BaseException as error:
        early = _report_early_end(run)
        events.report_failure(error, early)
        if isinstance(error, InspectionError):
            error.summary = early
        raise
    summary = report(run)
    events.report_completion(summary, reject_rate_limit)
    if not summary.nothing_new:
        return summary
    state: Any = Completed(name="NothingNew", message="No image is new.", data=summary)
    return cast("RunSummary", state)


def _report_early_end(run: ActiveRun) -> RunSummary | None:
    """Report a run that failed or was cancelled, without hiding its error.

    Not a task, because a flow run that is being cancelled starts none.
    """
    try:
        store = run.store.with_patience(0)
        extend_decision(store, run.run_id)
        reported = report_run(run.run_id, store, run.reader, run.settings)
        publish(reported)
    except Exception as error:  # noqa: BLE001 - the run's own error is the one to raise
        get_run_logger().warning("run %s has no report: %s", run.run_id, error)
        return None
    return reported.summary


def _detect(run: ActiveRun, events: RunEvents, shards: Shards) -> None:
    """Run detection on the pending images. If there are none, the model is not started."""
    store, control, request = run.store, run.control, run.context.request
    if store.inspections.pending(run.run_id, limit=1):
        _detect_at_model(run, events, shards, request.pause_at_reject_rate)
        if control.ending is Ending.PAUSE:
            why = control.message
            control.notify(
                "model",
                f"paused, the model is stopped: {why}; waiting up to "
                f"{request.pause_minutes:g} minutes for an answer on Prefect's page",
            )
            if not ask_to_continue(why, request.pause_minutes):
                raise EndedByOperator(
                    f"{why}; to inspect them, resume with `lfv inspect --resume {run.run_id}`"
                )
            control.resume()
            _detect_at_model(run, events, shards, None)
    if store.inspections.pending(run.run_id, duplicate=True, limit=1):
        reuse_for_duplicates(run)
    _refuse_unfinished(run)


def _detect_at_model(
    run: ActiveRun, events: RunEvents, shards: Shards, reject_rate_limit: float | None
) -> None:
    """Wait for one of the model's run slots, then keep the model hosted while detection runs."""
    with place_at_model(run.context.request.project):
        control = run.control
        pending = run.store.inspections.counts(run.run_id).pending
        logger = get_run_logger()
        logger.info(expected_cost(run, pending))
        price = run.context.unit_hour_price * run.context.units.minimum
        if run.context.request.mode == InspectionMode.BATCH:
            with (
                ProgressArtifact(control, pending, price),
                watch_reject_rate(run, reject_rate_limit),
            ):
                detect_in_batches(run)
            return
        with events.report_release(hold := ModelHold(run)), hold:
            adopted = start_model(hold)
            logger.info("the model is hosted%s", ", started by someone else" if adopted else "")
            if not adopted:
                events.report_model_start()
            control.expect(pending)
            detect = partial(share_out, shards=shards) if shards.number else fan_out
            with (
                ProgressArtifact(control, pending, price),
                watch_reject_rate(run, reject_rate_limit),
            ):
                while detect(run) is Ending.MODEL_LOST:
                    logger.warning("the model is down, starting it again: %s", control.message)
                    hold.restart()
        done = pending - run.store.inspections.counts(run.run_id).pending  # of all processes
        logger.info("%d of %d images are recorded; %s", done, pending, hold.outcome)


def _refuse_unfinished(run: ActiveRun) -> None:
    """Raise why detection ended early, if it did."""
    counts = run.store.inspections.counts(run.run_id)
    if counts.pending == 0:
        return
    control = run.control
    left = f"{counts.pending} of {count_of(counts.total, 'image')} left; resume with"
    message = f"{control.message.rstrip('.')}: {left} `lfv inspect --resume {run.run_id}`"
    raise _ENDINGS.get(control.ending, InspectionError)(message)


_ENDINGS: dict[Ending | None, type[InspectionError]] = {
    Ending.LIMIT: LimitReached,
    Ending.OUT_OF_REACH: ModelOutOfReach,
    Ending.STORE: ResultsNotStored,
}


def _policy(policy: PolicyFields | str | None, confidence: float | None) -> Policy:
    given = policy.policy() if isinstance(policy, PolicyFields) else policy
    if given is None and confidence is None:
        given = prefect_variables.policy()
    if given is None:
        return Policy.from_confidence(DEFAULT_CONFIDENCE if confidence is None else confidence)
    if confidence is not None:
        raise ValueError("give a confidence or a policy, not both: a policy has its own limits")
    return Policy.from_dict(given) if isinstance(given, dict) else Policy.load(Path(given))
