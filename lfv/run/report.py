"""The report of a run: an HTML page, and figures for programs where its images are labelled."""

from __future__ import annotations

import json
import logging
from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lfv.client.sources import SourceReader
from lfv.formats.answers import DetectAnomalyResult
from lfv.formats.evaluation import Evaluation
from lfv.report import (
    ReportAnomaly,
    ReportCounts,
    ReportEvaluation,
    ReportHosting,
    ReportImage,
    RunReport,
    render_report,
)
from lfv.run.active import ActiveRun
from lfv.run.evaluate import evaluate_run
from lfv.run.summary import RunSummary
from lfv_store import Run, Store, StoredDetection

logger = logging.getLogger(__name__)

#: Rows of the result table on the Prefect page; the database has all.
TABLE_ROWS = 200
#: Beside the report of a run whose manifest carries labels.
EVALUATION_FILE = "EvaluationResult.json"
_GROUPS = ("review", "reject", "error", "accept")


@dataclass(frozen=True)
class ReportedRun:
    """The outcome of a run, and a table of its first results."""

    summary: RunSummary
    table: list[dict[str, Any]]


def report_run(run: ActiveRun) -> ReportedRun:
    """Write the report; a report that cannot be written does not change the run's outcome."""
    store = run.store
    stored = store.runs.get(run.run_id)
    summary = RunSummary(
        run_id=run.run_id,
        status=stored.status,
        message=stored.message,
        project=stored.project_name,
        model_version=stored.model_version,
        counts=store.inspections.counts(run.run_id),
        evaluation=evaluate_run(stored, store, run.reader),
    )
    images, errors_by_code = _images(run)
    report = _report(run, stored, summary, images, errors_by_code)
    folder = run.settings.run_folder(run.run_id)
    try:
        rendered = render_report(report, folder)
        summary = replace(summary, report=rendered.path)
        if summary.evaluation is not None:
            _write_evaluation(folder / EVALUATION_FILE, summary.evaluation, stored, store)
    except OSError as error:
        logger.warning("the report of run %s could not be written: %s", run.run_id, error)
    rows = [_row(image) for name in _GROUPS for image in images[name]]
    return ReportedRun(summary, rows[:TABLE_ROWS])


def _write_evaluation(file: Path, evaluation: Evaluation, run: Run, store: Store) -> None:
    """The figures in the shape of Lookout for Vision's EvaluationResult, for programs."""
    arn = "" if run.model_id is None else store.models.get(run.model_id).key.model_arn
    ended = run.finished_at or datetime.now(UTC)
    document = evaluation.to_evaluation_result(model_arn=arn, ended_at=ended)
    file.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def _images(run: ActiveRun) -> tuple[dict[str, list[ReportImage]], Counter[str]]:
    """The first images of each group, and how often each error occurred."""
    store = run.store
    groups: dict[str, list[ReportImage]] = {name: [] for name in _GROUPS}
    errors: Counter[str] = Counter()
    answers = store.verdicts.candidates(run.run_id)
    answer = next(answers, None)
    for row in store.results.rows(run.run_id):
        while answer is not None and answer.line_number < row["line_number"]:
            answer = next(answers, None)
        name = row["verdict"] or "error"
        if name == "error":
            errors[row["error_code"]] += 1
        if len(groups[name]) < run.settings.report_limit:
            mine = answer is not None and answer.line_number == row["line_number"]
            groups[name].append(_image(row, answer if mine else None, store, run.reader))
    return groups, errors


def _image(
    row: dict[str, Any], answer: StoredDetection | None, store: Store, reader: SourceReader
) -> ReportImage:
    result = DetectAnomalyResult.from_response(answer.response) if answer else None
    return ReportImage(
        line_number=row["line_number"],
        source_ref=row["source_ref"],
        verdict=row["verdict"],
        reasons=[reason["text"] for reason in row["reasons"] or ()],
        is_anomalous=row["is_anomalous"],
        confidence=row["confidence"],
        anomalies=[
            ReportAnomaly(found.name, found.total_percentage_area, found.color)
            for found in (result.defects if result else ())
        ],
        expected_is_anomalous=row["expected_is_anomalous"],
        attributes=row["attributes"] or {},
        reused=row["reused"],
        error_code=row["error_code"],
        error_message=row["error"],
        read=(lambda: reader.read_bytes(row["source_ref"])) if result else None,
        mask_png=store.results.mask(answer.detection_id) if answer and answer.has_mask else None,
    )


def _report(
    run: ActiveRun,
    stored: Run,
    summary: RunSummary,
    images: dict[str, list[ReportImage]],
    errors_by_code: Counter[str],
) -> RunReport:
    counts = summary.counts
    place = "embedded service" if run.context.embedded else run.context.endpoint_url
    return RunReport(
        run_id=stored.run_id,
        project=stored.project_name,
        model_version=stored.model_version,
        host=f"{stored.host} ({place})",
        source=stored.source,
        status=stored.status,
        message=stored.message,
        counts=ReportCounts(
            total=counts.total,
            accepted=counts.accepted,
            rejected=counts.rejected,
            review=counts.review,
            errors=counts.errors,
            reused=counts.reused,
            pending=counts.pending,
        ),
        started_at=stored.started_at,
        finished_at=stored.finished_at,
        triggered_by=stored.triggered_by,
        flow_run_id=stored.flow_run_id,
        code_version=stored.code_version,
        manifest_sha256=stored.manifest_sha256,
        review=images["review"],
        rejected=images["reject"],
        errors=images["error"],
        accepted=images["accept"],
        errors_by_code=errors_by_code,
        policy=stored.policy,
        policy_sha256=stored.policy_sha256,
        hosting=_hosting(run.run_id, run.store),
        evaluation=_evaluation(summary.evaluation),
        database_url=run.settings.shown_store_url,
    )


def _hosting(run_id: str, store: Store) -> ReportHosting | None:
    """The last hosting that the run used."""
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


def _evaluation(found: Evaluation | None) -> ReportEvaluation | None:
    if found is None:
        return None
    return ReportEvaluation(
        labelled=found.images,
        true_positive=found.true_positives,
        false_positive=found.false_positives,
        true_negative=found.true_negatives,
        false_negative=found.false_negatives,
        precision=found.precision,
        recall=found.recall,
        f1=found.f1,
        roc_auc=found.roc_auc,
        average_precision=found.average_precision,
        iou={one.name: one.average_iou for one in found.types if one.average_iou is not None},
    )


def _row(image: ReportImage) -> dict[str, Any]:
    return {
        "line": image.line_number,
        "image": image.source_ref,
        "verdict": image.verdict or "error",
        "confidence": None if image.confidence is None else round(image.confidence, 4),
        "why": image.error_message or "; ".join(image.reasons),
    }
