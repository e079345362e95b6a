"""The parts of the page below the pictures: facts, cost, evaluation, policy, SQL."""

from __future__ import annotations

import json
from collections.abc import Mapping

from lfv.report.data import ReportEvaluation, ReportHosting, RunReport
from lfv.report.figures import duration, moment, money, score, whole, without_password
from lfv.report.markup import Html, join, tag, visible


def fact_table(facts: Mapping[str, object]) -> Html:
    """Names and values; those without a value are left out."""
    rows = [
        tag("tr", tag("th", name, scope="row"), tag("td", _cell(value)))
        for name, value in facts.items()
        if value is not None and value != ""
    ]
    return tag("table", tag("tbody", rows), class_="facts")


def _cell(value: object) -> object:
    return value if isinstance(value, Html) else visible(value)


def run_panel(report: RunReport) -> Html:
    """Who ran what, when and from where."""
    started, finished = report.started_at, report.finished_at
    took = (finished - started).total_seconds() if started and finished else None
    extra = {visible(name, 40): value for name, value in report.facts.items()}
    facts: dict[str, object] = {
        "Run": tag("code", visible(report.run_id)),
        "Model": f"{report.project}, version {report.model_version}",
        "Hosted by": report.host,
        "Manifest": tag("code", visible(report.source)),
        "Manifest SHA-256": tag("code", visible(report.manifest_sha256))
        if report.manifest_sha256
        else None,
        "Started": moment(started) if started else None,
        "Finished": moment(finished) if finished else None,
        "Took": duration(took) if took is not None else None,
        "Triggered by": report.triggered_by,
        "Prefect flow run": tag("code", visible(report.flow_run_id))
        if report.flow_run_id
        else None,
        "Code version": report.code_version,
    }
    return _panel("Run", fact_table({**facts, **extra}))


def hosting_panel(hosting: ReportHosting | None) -> Html:
    """How long the model was up and what that cost."""
    if hosting is None:
        return _panel(
            "Hosting and cost", tag("p", "The model was not needed, so it was never started.")
        )
    up = None
    if hosting.hosted_at and hosting.stopped_at:
        up = duration((hosting.stopped_at - hosting.hosted_at).total_seconds())
    price = hosting.price_per_unit_hour
    facts: dict[str, object] = {
        "Started by": "this system" if hosting.started_here else "somebody else; left running",
        "Inference units": hosting.inference_units,
        "Start asked": moment(hosting.requested_at) if hosting.requested_at else None,
        "Hosted": moment(hosting.hosted_at) if hosting.hosted_at else None,
        "Stopped": moment(hosting.stopped_at) if hosting.stopped_at else _not_stopped(hosting),
        "Up for": up,
        "Paid time": _seconds(hosting.paid_seconds),
        "of it idle": _seconds(hosting.idle_seconds),
        "Price": f"{money(price)} per unit and hour" if price is not None else None,
        "Cost": tag("b", money(hosting.cost)) if hosting.cost is not None else None,
    }
    return _panel("Hosting and cost", fact_table(facts))


def _seconds(seconds: float | None) -> str | None:
    return duration(seconds) if seconds is not None else None


def _not_stopped(hosting: ReportHosting) -> object:
    if not hosting.started_here:
        return None
    return tag("span", "not seen stopped when this was written", class_="badge reject")


def evaluation_panel(evaluation: ReportEvaluation) -> Html:
    """The model's answers against the labels of the manifest."""
    measures: dict[str, object] = {
        "Labelled images": whole(evaluation.labelled),
        "Precision": score(evaluation.precision),
        "Recall": score(evaluation.recall),
        "F1": score(evaluation.f1),
        "ROC AUC": score(evaluation.roc_auc),
        "Average precision": score(evaluation.average_precision),
    }
    for name, value in evaluation.iou.items():
        measures[f"IoU {visible(name, 60)}"] = score(value)
    counts = tag(
        "table",
        tag(
            "thead",
            tag("tr", tag("td"), tag("th", "called anomaly", class_="number"),
                tag("th", "called normal", class_="number")),
        ),
        tag(
            "tbody",
            _count_row("labelled anomaly", evaluation.true_positive, evaluation.false_negative),
            _count_row("labelled normal", evaluation.false_positive, evaluation.true_negative),
        ),
    )  # fmt: skip
    return _panel("Against the labels", fact_table(measures), tag("p"), counts)


def _count_row(name: str, *counts: int) -> Html:
    cells = [tag("td", whole(count), class_="number") for count in counts]
    return tag("tr", tag("th", name, scope="row"), cells)


def policy_panel(report: RunReport) -> Html:
    """The rules that made verdicts of the model's answers."""
    text = json.dumps(dict(report.policy), indent=2, ensure_ascii=False, default=str)
    shown = "\n".join(visible(line, 2000) for line in text[:20_000].splitlines())
    digest = report.policy_sha256
    return _panel(
        "Policy",
        tag("p", "Verdicts follow from the model's answers by these rules:"),
        tag("pre", shown),
        tag("p", "SHA-256 ", tag("code", visible(digest)), class_="soft") if digest else None,
    )


def sql_panel(report: RunReport) -> Html:
    """How to ask the database about this run."""
    where = "WHERE run_id = '" + visible(report.run_id).replace("'", "''") + "';"
    questions = (
        (
            "Every image of this run with its verdict",
            "SELECT source_ref, verdict, is_anomalous, confidence, reasons, error",
            "FROM inspection_results",
        ),
        (
            "Which anomalies, and how large (total_percentage_area is a fraction, 0 to 1)",
            "SELECT source_ref, name, total_percentage_area",
            "FROM anomaly_results",
        ),
        ("The run in one line", "SELECT *", "FROM run_summary"),
    )
    url = report.database_url
    return _panel(
        "Ask the database",
        tag("p", "Database: ", tag("code", visible(without_password(url)))) if url else None,
        [
            join(tag("p", question, class_="soft"), tag("pre", f"{select}\n{source}\n{where}"))
            for question, select, source in questions
        ],
    )


def error_counts(report: RunReport) -> Html | None:
    """How many lines failed in which way."""
    if not report.errors_by_code:
        return None
    ranked = sorted(report.errors_by_code.items(), key=lambda pair: (-pair[1], pair[0]))
    chips = [
        tag("span", tag("b", visible(code, 60), " "), whole(count), class_="chip")
        for code, count in ranked
    ]
    return tag("div", chips, class_="chips")


def _panel(title: str, *content: object) -> Html:
    return tag("section", tag("h3", title), *content, class_="panel")
