"""`lfv runs` and `lfv show`: the runs, and one run in detail."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lfv.cli import output
from lfv.cli.common import find_run, local_time, settings_from, short_id, store_from, time_of
from lfv.cli.options import (
    DatabaseUrlOption,
    JsonOption,
    RunArgument,
    RunStatus,
    VerdictName,
    examples,
)
from lfv.cli.short_texts import answer, reasons_text
from lfv.formats.folder_layout import describe_skipped
from lfv.formats.words import count_of

if TYPE_CHECKING:
    from lfv_store import Decision, HostingCost, Run, RunCounts, Store

_IMAGE_COLUMNS = ("line_number", "verdict", "source_ref", "answer", "reasons")


def register(app: typer.Typer) -> None:
    app.command(
        "runs",
        epilog=examples(
            "lfv runs",
            "lfv runs --project cookies --status failed --since 7d",
            "lfv runs --source camera1 --since 2026-11-01 --limit 100 --json",
        ),
    )(runs)
    app.command(
        "show",
        epilog=examples("lfv show last", "lfv show last --verdict reject", "lfv show 3f7c --json"),
    )(show)


def runs(
    *,
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=1, max=10_000, help="How many runs to list.")
    ] = 20,
    project: Annotated[
        str | None, typer.Option("--project", "-p", help="Only runs of this project.")
    ] = None,
    status: Annotated[
        RunStatus | None, typer.Option("--status", help="Only runs with this status.")
    ] = None,
    source: Annotated[
        str | None,
        typer.Option("--source", metavar="TEXT", help="Only runs whose source contains this."),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            "--since",
            metavar="WHEN",
            help="Only runs started since then: 90m, 12h, 7d or 4w ago, or a date such as "
            "2026-11-01 or 2026-11-01T06:00, in local time unless it has an offset.",
        ),
    ] = None,
    database_url: DatabaseUrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """List inspection runs, the newest first, with their counts.

    If filters are combined, a run must match all of them.
    """
    from lfv.run.summary import NOTHING_NEW

    started_since = None if since is None else time_of(since, "--since")
    settings = settings_from(database_url=database_url)
    with store_from(settings) as store:
        found = store.runs.list(
            limit + 1,
            status=status,
            project=project,
            source=source,
            since=started_since,
        )
        listed = [(run, store.inspections.counts(run.run_id)) for run in found[:limit]]
    if len(found) > limit:
        output.note(f"the newest {limit} are listed; --limit lists more")
    if as_json:
        output.show_json([as_dict(run, counts) for run, counts in listed])
        return
    columns = ["run", "started", "model", "status"]
    numbers = ["images", "accept", "reject", "review", "error"]
    unfinished = any(counts.pending for _, counts in listed)
    if unfinished:
        numbers.append("to do")
    rows = [
        (
            short_id(run.run_id),
            local_time(run.started_at),
            f"{run.project_name}/{run.model_version}",
            NOTHING_NEW if run.message == NOTHING_NEW else run.status,
            counts.total,
            counts.accepted,
            counts.rejected,
            counts.review,
            counts.errors,
            *([counts.pending] if unfinished else []),
            run.triggered_by,
        )
        for run, counts in listed
    ]
    output.show_table((*columns, *numbers, "started by"), rows, right=numbers)
    if not listed and any(condition is not None for condition in (project, status, source, since)):
        output.note("no run meets these conditions; `lfv runs` lists all")
    elif not listed:
        output.note("no runs yet; `lfv inspect` starts one")


def show(
    run: RunArgument,
    *,
    verdict: Annotated[
        VerdictName | None,
        typer.Option("--verdict", help="Also list the images with this verdict."),
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=0, help="How many images to list at most.")
    ] = 20,
    database_url: DatabaseUrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a run: its model, manifest, policy, counts, errors, cost and report.

    Images that could not be inspected are listed with the reason.
    """
    from lfv.run.models.approvals import approval_of

    settings = settings_from(database_url=database_url)
    with store_from(settings) as store:
        found = find_run(store, run)
        counts = store.inspections.counts(found.run_id)
        cost = store.costs.run(found.run_id)
        decisions = store.verdicts.decisions(found.run_id)
        errors = store.results.errors(found.run_id, limit=limit)
        by_code = store.results.errors_by_code(found.run_id)
        approval = approval_of(found, store)
        images = [] if verdict is None else _with_verdict(store, found.run_id, verdict, limit + 1)
    more_images, images = len(images) > limit, images[:limit]
    report = settings.report_path(found.run_id)
    if as_json:
        shown = as_dict(found, counts) | {
            "cost": asdict(cost),
            "decisions": [asdict(decision) for decision in decisions],
            "errors_by_code": by_code,
            "errors": [_error_facts(row) for row in errors],
            "images": [_image_facts(row) for row in images],
            "report": report if report.exists() else None,
        }
        output.show_json(shown)
        return
    output.show_facts(_facts(found, counts, cost, decisions, report, approval))
    if errors:
        _show_rows(("line", "error", "image", "why"), map(_error_facts, errors))
    if counts.errors > len(errors):
        output.show(f"... and {counts.errors - len(errors)} more; `lfv export` writes all of them")
    if images:
        columns = ("line", "verdict", "image", "model's answer", "why")
        shown_rows = [_image_facts(row) | {"verdict": _verdict_text(row)} for row in images]
        _show_rows(columns, [{name: row[name] for name in _IMAGE_COLUMNS} for row in shown_rows])
    if more_images:
        output.show("... and more; `lfv export` writes all of them")
    if counts.pending:
        output.note(
            f"{count_of(counts.pending, 'line')} left; "
            f"`lfv inspect --resume {found.run_id}` continues"
        )


def _show_rows(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    cells = [tuple(row.values()) for row in rows]
    output.show("", output.table(columns, cells, right=("line",)))


def _with_verdict(
    store: Store, run_id: str, verdict: VerdictName, limit: int
) -> list[dict[str, Any]]:
    """Return the first lines of a run with this current verdict."""
    found = (row for row in store.results.rows(run_id) if row["final_verdict"] == verdict)
    return list(islice(found, limit))


def _facts(
    run: Run,
    counts: RunCounts,
    cost: HostingCost,
    decisions: Sequence[Decision],
    report: Path,
    approval: str | None,
) -> dict[str, Any]:
    took = (run.finished_at - run.started_at).total_seconds() if run.finished_at else None
    current = next(decision for decision in decisions if decision.current)
    idle = f", {cost.idle_seconds:.1f} s of it idle" if cost.paid_seconds else ""
    return {
        "run": run.run_id,
        "status": run.status,
        "message": run.message,
        "model": f"{run.project_name}, version {run.model_version} ({run.host})"
        + (f", {approval}" if approval else ""),
        "manifest": run.source,
        "images": counts.total,
        "accept": counts.accepted,
        "reject": counts.rejected,
        "review": counts.review,
        "not inspected": counts.errors,
        "still to do": counts.pending or None,
        "skipped files": describe_skipped(run.skipped or {}) or None,
        "reused answers": counts.reused or None,
        "policy": _policy_name(current),
        "decisions": f"{len(decisions)}; number {current.number} counts, by {current.decided_by}"
        if len(decisions) > 1
        else None,
        "first policy": _policy_name(decisions[0]) if current.number > 1 else None,
        "triggered by": run.triggered_by,
        "flow run": run.flow_run_id,
        "started": local_time(run.started_at),
        "took": None if took is None else f"{took:.1f} s",
        "paid time": f"{cost.paid_seconds:.1f} s{idle}",
        "cost": f"{cost.cost:.4f} USD",
        "report": report if report.exists() else None,
    }


def _policy_name(decision: Decision) -> str:
    return str(decision.policy.get("name") or decision.policy_sha256[:12])


def _verdict_text(row: Mapping[str, Any]) -> str:
    """Format the current verdict and its origin: `accept (first review)`, `reject by Eve`."""
    reviewer = f" by {row['reviewer']}" if row["reviewed_verdict"] else ""
    first = row["first_verdict"]
    earlier = f" (first {first})" if first != row["final_verdict"] else ""
    return f"{row['final_verdict']}{reviewer}{earlier}"


def _image_facts(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "line_number": row["line_number"],
        "verdict": row["final_verdict"],
        "source_ref": row["source_ref"],
        "answer": answer(row["is_anomalous"], row["confidence"]),
        "reasons": reasons_text(row["reasons"] or ()),
        "first_verdict": row["first_verdict"],
        "policy_verdict": row["verdict"],
        "reviewer": row["reviewer"],
        "review_comment": row["review_comment"],
    }


def _error_facts(row: Mapping[str, Any]) -> dict[str, Any]:
    message = str(row["error"] or "").removeprefix(f"{row['error_code']}: ")
    return {
        "line_number": row["line_number"],
        "error_code": row["error_code"],
        "source_ref": row["source_ref"],
        "message": message,
    }


def as_dict(run: Run, counts: RunCounts) -> dict[str, Any]:
    """Return the run's JSON form. Keys may be added, but never changed."""
    return asdict(run) | {"counts": asdict(counts)}
