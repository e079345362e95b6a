"""The list of runs, and one run: counts, charts, gallery."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlencode

from starlette.responses import HTMLResponse, RedirectResponse, Response

from lfv.report.charts import histogram, pareto
from lfv.report.run_values import ReportAnswer, ReportType
from lfv.run.lookup import find_run
from lfv.run.models.approvals import approval_of
from lfv.run.pictures import with_pictures
from lfv.run.report import policy_limits, report_run
from lfv.run.verdicts.decide import current_decision
from lfv.ui.cards import cards
from lfv.ui.routing import Call, NotFound, Refused, get, post
from lfv_store import Run, RunCounts

_PER_PAGE = 100
_RUNS = 30
#: A report is one file with its own style and script. The sandbox isolates it from the pages.
_REPORT_POLICY = (
    "sandbox allow-scripts allow-popups allow-modals; default-src 'none'; img-src data:; "
    "style-src 'unsafe-inline'; script-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
OUTCOMES = ("reject", "review", "accept", "error")


@dataclass(frozen=True)
class Row:
    """A run in the list; `rate` in images a second, `cost` in US dollars."""

    run: Run
    counts: RunCounts
    seconds: float
    rate: float | None
    cost: float | None

    @property
    def share_done(self) -> float | None:
        """The inspected share of the manifest, 0 to 1; None if its length is unknown."""
        total = self.run.manifest_lines or self.counts.total
        return min(1.0, self.counts.inspected / total) if total else None


def list_runs(call: Call) -> Response:
    """Show a screen of runs, the newest first, with the progress of running ones."""
    store = call.ui.store
    before = find_run(store, call.query("before")) if call.query("before") else None
    runs = store.runs.list(_RUNS, before=before)
    costs = store.costs.of_runs([run.run_id for run in runs])
    rows = [_row(run, store.inspections.counts(run.run_id), costs.get(run.run_id)) for run in runs]
    return call.page(
        "runs.html",
        title="Runs",
        rows=rows,
        running=any(run.status == "running" for run in runs),
        before=before,
        older=runs[-1] if len(runs) == _RUNS else None,
    )


def show_run(call: Call) -> Response:
    """Show one run: counts, and a page of its images."""
    store = call.ui.store
    run = find_run(store, call.request.path_params["run"])
    outcome = call.query("show")
    if outcome and outcome not in OUTCOMES:
        raise NotFound
    anomaly = call.query("anomaly")
    after = call.query("after")
    rows = store.gallery.page(
        run.run_id,
        outcome=outcome or None,  # type: ignore[arg-type]
        anomaly=anomaly or None,
        after=int(after) if after.isdecimal() and len(after) < 19 else 0,
        limit=_PER_PAGE,
    )
    more = None
    if len(rows) == _PER_PAGE:
        more = _address(run, outcome, anomaly, rows[-1]["line_number"])
    counts = store.inspections.counts(run.run_id)
    written = _report_time(call, run)
    row = _row(run, counts, store.costs.of_runs([run.run_id]).get(run.run_id))
    return call.page(
        "run.ui.html",
        title=f"Run {run.run_id[:8]}",
        run=run,
        row=row,
        counts=counts,
        cards=cards(call.ui, rows),
        outcome=outcome,
        anomaly=anomaly,
        more=more,
        first=not after,
        has_report=written is not None,
        reviewed=store.reviews.parts_since(run.run_id, run.started_at),
        newer=0 if written is None else store.reviews.parts_since(run.run_id, written),
        job=call.ui.jobs.get(_report_job(run)),
        decision=current_decision(store, run.run_id),
        approval=approval_of(run, store),
        address=lambda show: _address(run, show, anomaly, None),
    )


def run_report(call: Call) -> Response:
    """Show the stored report of a run, or redirect to the run's page if there is none."""
    run = find_run(call.ui.store, call.request.path_params["run"])
    report = call.ui.settings.report_path(run.run_id)
    if not report.is_file():
        return RedirectResponse(f"/runs/{run.run_id}", 303)
    page = with_pictures(report.read_text("utf-8"), call.ui.settings.thumbnails_folder)
    headers = {"content-security-policy": _REPORT_POLICY, "cache-control": "no-store"}
    return HTMLResponse(page, headers=headers)


def write_report(call: Call) -> Response:
    """Write the report of a run again, in the background."""
    ui = call.ui
    run = find_run(ui.store, call.request.path_params["run"])
    if run.status == "running":
        raise Refused("This run is not over; it writes its report at its end.", 409)

    def work(_: Callable[[str], None]) -> str:
        found = report_run(run.run_id, ui.store, ui.reader, ui.settings, hold_pictures=True)
        if found.summary.report is None:
            raise OSError(
                f"The report cannot be written to {ui.settings.run_folder(run.run_id)}; "
                "the log of this server has the cause."
            )
        return "It counts the reviews up to now."

    ui.jobs.start(_report_job(run), call.visitor.name, work)
    return RedirectResponse(f"/runs/{run.run_id}", 303)


def _report_job(run: Run) -> str:
    return f"report of {run.run_id}"


def _report_time(call: Call, run: Run) -> datetime | None:
    """Return the time as of which a run's stored report counts; None without a report."""
    try:
        changed = call.ui.settings.report_path(run.run_id).stat().st_mtime
    except OSError:
        return None
    return datetime.fromtimestamp(changed, UTC)


def run_charts(call: Call) -> Response:
    """Show the charts of a run, separately from its page because they read all answers."""
    store = call.ui.store
    run = find_run(store, call.request.path_params["run"])
    answers = [ReportAnswer(*answer) for answer in store.results.answers(run.run_id)]
    types = [ReportType(*kind) for kind in store.results.anomaly_types(run.run_id)]
    return call.page(
        "charts.html",
        run=run,
        histogram=histogram(answers, policy_limits(current_decision(store, run.run_id).policy)),
        pareto=pareto(types),
        errors=store.results.errors_by_code(run.run_id),
    )


def _row(run: Run, counts: RunCounts, cost: float | None) -> Row:
    seconds = ((run.finished_at or datetime.now(UTC)) - run.started_at).total_seconds()
    rate = counts.inspected / seconds if seconds > 0 and counts.inspected else None
    return Row(run, counts, seconds, rate, cost)


def _address(run: Run, show: str, anomaly: str, after: int | None) -> str:
    pairs = {"show": show, "anomaly": anomaly, "after": after}
    query = urlencode({name: value for name, value in pairs.items() if value})
    return f"/runs/{run.run_id}{'?' + query if query else ''}"


ROUTES = [
    get("/", list_runs),
    get("/runs/{run}", show_run),
    get("/runs/{run}/charts", run_charts),
    get("/runs/{run}/report", run_report),
    post("/runs/{run}/report", write_report, "reviewer"),
]
