"""The report of a run: an HTML page, and a file of figures if images are labelled."""

from __future__ import annotations

import json
import logging
import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lfv.client.hosts import HostSpec
from lfv.client.policy import Policy
from lfv.client.policy.rules import Rules
from lfv.client.sources import SourceReader
from lfv.formats.answers import DetectAnomalyResult
from lfv.formats.errors import LfvError
from lfv.formats.evaluation import Evaluation
from lfv.formats.fit import convert_as_recorded
from lfv.formats.folder_layout import Skipped
from lfv.formats.images import CONVERTED_FROM
from lfv.formats.mistakes import mistake_of
from lfv.report import (
    LinkedThumbnail,
    ReportAnomaly,
    ReportAnswer,
    ReportAudit,
    ReportCounts,
    ReportHosting,
    ReportImage,
    ReportLimit,
    ReportType,
    RunReport,
    write_run_report,
)
from lfv.run.evaluate import evaluate_run
from lfv.run.models.approvals import approval_of
from lfv.run.pictures import Pictures
from lfv.run.rejects_markdown import rejects_markdown
from lfv.run.summary import RunSummary
from lfv.run.verdicts.decide import current_decision
from lfv.settings import Settings
from lfv_store import Decision, Run, Store, StoredDetection

logger = logging.getLogger(__name__)

#: Rows of the result table on the Prefect page; the database has all.
TABLE_ROWS = 200
#: The file of figures next to the report of a labelled run.
EVALUATION_FILE = "EvaluationResult.json"
_GROUPS = ("escape", "review", "reject", "error", "accept")
_MOST_LIMITS = 6
_READ_TOGETHER = 500
#: What the figures are made of: the columns of a line that are read in any case.
_FACTS = (
    "line_number",
    "final_verdict",
    "reviewed_verdict",
    "expected_is_anomalous",
    "is_anomalous",
    "confidence",
    "error_code",
)


@dataclass(frozen=True)
class ReportedRun:
    """A run's summary, a table of its first results, and its rejected parts as Markdown."""

    summary: RunSummary
    table: list[dict[str, Any]]
    rejects: str | None = None


@dataclass
class _Findings:
    """The contents of the report: the first images of each group, and figures over all."""

    groups: dict[str, list[ReportImage]] = field(
        default_factory=lambda: {name: [] for name in _GROUPS}
    )
    errors_by_code: Counter[str] = field(default_factory=Counter)
    #: Images by answer, confidence in thousandths (finer than the bars), and verdict.
    answers: Counter[tuple[bool, int, str]] = field(default_factory=Counter)
    escapes: int = 0
    false_alarms: int = 0
    reviewed: int = 0
    #: Earlier answers that the run reused, for images that are shown.
    known: dict[int, StoredDetection] = field(default_factory=dict)


def report_run(
    run_id: str,
    store: Store,
    reader: SourceReader,
    settings: Settings,
    *,
    hold_pictures: bool = False,
) -> ReportedRun:
    """Write the report of a run by its current verdicts, replacing an earlier one.

    The report links to thumbnails of images judged before the run, which all runs share; with
    `hold_pictures` it embeds them. A run that found nothing new gets no report, because a schedule
    may start one every minute. A failure to write the report does not change the run's outcome.
    The file's time of change is the time of its counts.
    """
    counted_at = time.time()
    stored = store.runs.get(run_id)
    summary = summarize(stored, store, reader)
    if summary.nothing_new:
        return ReportedRun(summary, [])
    found = _findings(stored, store, reader, settings.report_limit)
    if hold_pictures:
        found.known.clear()
    report = _report(stored, store, settings, summary, found)
    folder = settings.run_folder(run_id)
    try:
        pictures = Pictures(store, reader, settings.thumbnails_folder)
        page = settings.report_path(run_id)

        def linker(image: ReportImage) -> LinkedThumbnail | None:
            answer = found.known.get(image.line_number)
            return None if answer is None else pictures.linked_thumbnail(answer, page)

        written = write_run_report(report, folder, linker)
        os.utime(written, (counted_at, counted_at))
        summary = replace(summary, report=written, report_url=settings.report_address(run_id))
        if summary.evaluation is not None:
            _write_evaluation(folder / EVALUATION_FILE, summary.evaluation, stored, store)
    except OSError as error:
        logger.warning("the report of run %s could not be written: %s", run_id, error)
    rows = [_row(image) for name in _GROUPS for image in found.groups[name]]
    rejects = rejects_markdown(found.groups["reject"], summary.counts.rejected)
    return ReportedRun(summary, rows[:TABLE_ROWS], rejects)


def summarize(run: Run, store: Store, reader: SourceReader) -> RunSummary:
    """Return what is recorded of a run, without its report."""
    return RunSummary(
        run_id=run.run_id,
        status=run.status,
        message=run.message,
        project=run.project_name,
        model_version=run.model_version,
        counts=store.inspections.counts(run.run_id),
        evaluation=evaluate_run(run, store, reader),
        skipped=run.skipped or {},
        approval=approval_of(run, store),
    )


def _write_evaluation(file: Path, evaluation: Evaluation, run: Run, store: Store) -> None:
    """Write the figures in the form of Lookout for Vision's EvaluationResult."""
    arn = "" if run.model_id is None else store.models.get(run.model_id).key.model_arn
    ended = run.finished_at or datetime.now(UTC)
    document = evaluation.to_evaluation_result(model_arn=arn, ended_at=ended)
    file.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def _findings(run: Run, store: Store, reader: SourceReader, limit: int) -> _Findings:
    """Read the facts of every line once, and all about the lines that are shown."""
    found = _Findings()
    shown: dict[int, str] = {}
    sizes: Counter[str] = Counter()
    for row in store.results.rows(run.run_id, _FACTS):
        mistake = mistake_of(
            row["final_verdict"], row["reviewed_verdict"], row["expected_is_anomalous"]
        )
        group = mistake if mistake == "escape" else row["final_verdict"] or "error"
        found.escapes += mistake == "escape"
        found.false_alarms += mistake == "false alarm"
        found.reviewed += row["reviewed_verdict"] is not None
        if group == "error":
            found.errors_by_code[row["error_code"]] += 1
        if row["confidence"] is not None:
            thousandths = int(row["confidence"] * 1000 + 1e-6)
            found.answers[row["is_anomalous"], thousandths, row["final_verdict"]] += 1
        if sizes[group] < limit:
            sizes[group] += 1
            shown[row["line_number"]] = group
    lines = list(shown)
    for first in range(0, len(lines), _READ_TOGETHER):
        _add_images(found, shown, lines[first : first + _READ_TOGETHER], run, store, reader)
    return found


def _add_images(
    found: _Findings,
    groups: Mapping[int, str],
    lines: Sequence[int],
    run: Run,
    store: Store,
    reader: SourceReader,
) -> None:
    """Add images to their groups."""
    answers = {one.line_number: one for one in store.verdicts.candidates(run.run_id, lines=lines)}
    for row in store.results.of_lines(run.run_id, lines):
        answer = answers.get(row["line_number"])
        found.groups[groups[row["line_number"]]].append(_image(row, answer, store, reader))
        if answer is not None and row["reused"] and row["detected_at"] < run.started_at:
            found.known[answer.line_number] = answer


def _image(
    row: dict[str, Any],
    answer: StoredDetection | None,
    store: Store,
    reader: SourceReader,
) -> ReportImage:
    result = DetectAnomalyResult.from_response(answer.response) if answer else None
    return ReportImage(
        line_number=row["line_number"],
        source_ref=row["source_ref"],
        verdict=row["final_verdict"],
        reasons=list(_reasons(row)),
        is_anomalous=row["is_anomalous"],
        confidence=row["confidence"],
        anomalies=[
            ReportAnomaly(found.name, found.total_percentage_area, found.color)
            for found in (result.defects if result else ())
        ],
        expected_is_anomalous=row["expected_is_anomalous"],
        reviewed=row["reviewed_verdict"],
        attributes=row["attributes"] or {},
        reused=row["reused"],
        error_code=row["error_code"],
        error_message=row["error"],
        read=(lambda: _shown_bytes(row, reader)) if result else None,
        mask_png=store.results.mask(answer.detection_id) if answer and answer.has_mask else None,
    )


def _shown_bytes(row: dict[str, Any], reader: SourceReader) -> bytes:
    """Return the image as the model saw it, so that the marks match."""
    converted_from = (row["attributes"] or {}).get(CONVERTED_FROM)
    return convert_as_recorded(reader.read_bytes(row["source_ref"]), converted_from)


def _reasons(row: dict[str, Any]) -> Iterator[str]:
    """Yield the policy's reasons, the review, and earlier decisions."""
    for reason in row["reasons"] or ():
        yield reason["text"]
    if row["reviewed_verdict"] is not None:
        comment = f": {row['review_comment']}" if row["review_comment"] else ""
        yield f"Reviewed by {row['reviewer']}, {row['reviewed_verdict']}{comment}"
        yield f"The policy decided {row['verdict']}"
    if row["first_verdict"] != row["verdict"]:
        yield f"The run's own policy decided {row['first_verdict']}"


def _decision_facts(decision: Decision) -> dict[str, str]:
    """Return who applied the current policy, if that was after the run."""
    if decision.number == 1:
        return {}
    return {
        "Verdicts": f"decision {decision.number}, by {decision.decided_by}",
        "Decided": f"{decision.decided_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC",
    }


def _report(
    stored: Run, store: Store, settings: Settings, summary: RunSummary, found: _Findings
) -> RunReport:
    images = found.groups
    notes = [str(Skipped(Counter(summary.skipped)))] if summary.skipped else []
    if found.known:
        notes.append(
            "Pictures of images that were judged before this run are files of "
            f"{settings.thumbnails_folder}. To mail this page, embed them: "
            f"`lfv report {stored.run_id}`"
        )
    head = store.audit.head()
    decision = current_decision(store, stored.run_id)
    return RunReport(
        run_id=stored.run_id,
        project=stored.project_name,
        model_version=stored.model_version,
        approval=summary.approval,
        host=_host(stored, store),
        source=stored.source,
        status=stored.status,
        message=stored.message,
        counts=ReportCounts(**asdict(summary.counts)),
        started_at=stored.started_at,
        finished_at=stored.finished_at,
        triggered_by=stored.triggered_by,
        flow_run_id=stored.flow_run_id,
        code_version=stored.code_version,
        manifest_sha256=stored.manifest_sha256,
        escaped=images["escape"],
        review=images["review"],
        rejected=images["reject"],
        errors=images["error"],
        accepted=images["accept"],
        errors_by_code=found.errors_by_code,
        answers=[
            ReportAnswer(is_anomalous, thousandths / 1000, verdict, images)
            for (is_anomalous, thousandths, verdict), images in found.answers.items()
        ],
        limits=policy_limits(decision.policy),
        types=[
            ReportType(name, number, color)
            for name, number, color in store.results.anomaly_types(stored.run_id)
        ],
        policy=decision.policy,
        policy_sha256=decision.policy_sha256,
        hosting=_hosting(stored.run_id, store),
        evaluation=summary.evaluation,
        escapes=found.escapes,
        false_alarms=found.false_alarms,
        audit=None if head is None else ReportAudit(head.seq, str(head)),
        database_url=settings.shown_store_url,
        facts=_decision_facts(decision),
        made_at=datetime.now(UTC),
        reviewed=found.reviewed,
        notes=notes,
    )


def _host(run: Run, store: Store) -> str:
    """Return the kind of host, and the place of the run's last hosting, if it had one."""
    hostings = store.hostings.of_run(run.run_id)
    if not hostings:
        return run.host
    spec = HostSpec.from_dict(hostings[-1].host_spec)
    place = "embedded service" if spec.embedded_home else spec.endpoint_url or "Amazon"
    return f"{run.host} ({place})"


def _hosting(run_id: str, store: Store) -> ReportHosting | None:
    """Return the last hosting that the run used, or None."""
    hostings = store.hostings.of_run(run_id)
    if not hostings:
        return None
    hosting = hostings[-1]
    share = store.costs.run(run_id)
    return ReportHosting(
        started_here=hosting.owned,
        inference_units=hosting.min_units,
        requested_at=hosting.requested_at,
        hosted_at=hosting.hosted_at,
        stopped_at=hosting.stopped_at,
        paid_seconds=share.paid_seconds,
        idle_seconds=share.idle_seconds,
        price_per_unit_hour=hosting.price_per_unit_hour,
        cost=share.cost,
    )


def policy_limits(policy: Mapping[str, Any]) -> list[ReportLimit]:
    """Yield the policy's confidence limits for the histogram; none if there are too many."""
    try:
        parsed = Policy.from_dict(policy)
    except LfvError:
        return []
    limits = list(_limits_of(parsed, parsed.default, ""))
    for name, rules in parsed.classes.items():
        limits += _limits_of(parsed, rules, f"{name}: ")
    return limits if len(limits) <= _MOST_LIMITS else []


def _percent(fraction: float) -> str:
    return f"{round(100 * fraction, 6):g} %"


def _limits_of(policy: Policy, rules: Rules, prefix: str) -> Iterator[ReportLimit]:
    if rules.classification is not None:
        limit = rules.classification.min_confidence
        yield ReportLimit(True, limit, f"{prefix}reject from {_percent(limit)}")
    anomalous = rules.review.from_anomalous
    if anomalous is not None and anomalous > 0:
        yield ReportLimit(True, anomalous, f"{prefix}review from {_percent(anomalous)}")
    normal = policy.normal_below(rules)
    if normal is not None:
        yield ReportLimit(False, normal, f"{prefix}review below {_percent(normal)}")


def _row(image: ReportImage) -> dict[str, Any]:
    return {
        "line": image.line_number,
        "image": image.source_ref,
        "verdict": image.verdict or "error",
        "confidence": None if image.confidence is None else round(image.confidence, 4),
        "why": image.error_message or "; ".join(image.reasons),
    }
