"""How fast the store is with a million inspections, on SQLite and on PostgreSQL.

python benchmarks/store.py [--rows 1000000] [--url sqlite:///FILE] [--url postgresql://USER@HOST/DB]

For PostgreSQL a new database is created on the server and dropped afterwards; an SQLite file must
not exist yet and is removed afterwards, unless --keep. Writes
benchmarks/store-results.md.
"""

from __future__ import annotations

import argparse
import itertools
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

from store_load import Load, measure_verify  # noqa: E402

from lfv_store import NewInspection, NewVerdict, Store, open_store  # noqa: E402
from lfv_store.audit import change  # noqa: E402
from lfv_store.audit.change import Change  # noqa: E402
from lfv_store.dialects.sqlite import Sqlite  # noqa: E402
from tests.support.databases import PostgresServer  # noqa: E402
from tests.support.documented_sql import RUN_ID, auditor_queries  # noqa: E402

RESULTS = Path(__file__).with_name("store-results.md")
BATCH = 500
_NUMBERS = itertools.count(10_000_000)  # ids of changes without an entry
ROWS_BAR, VERIFY_BAR, QUERY_BAR = 5_000, 50_000, 1.0


class Report:
    """Lines of the results file, printed as they come."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str = "") -> None:
        """Print and keep a line."""
        print(line, flush=True)
        self.lines.append(line)

    def row(self, *cells: object) -> None:
        """A line of a table."""
        self.say("| " + " | ".join(str(cell) for cell in cells) + " |")

    def head(self, *cells: object) -> None:
        """The first lines of a table."""
        self.row(*cells)
        self.row(*("---" for _ in cells))


@contextmanager
def fresh(url: str, keep: bool) -> Iterator[str]:
    """The URL of an empty database."""
    if url.startswith("sqlite"):
        path = Path(url.partition(":///")[2])
        if path.exists():
            raise SystemExit(f"{path} exists already")
        yield url
        if not keep:
            for suffix in ("", "-wal", "-shm"):
                path.with_name(path.name + suffix).unlink(missing_ok=True)
        return
    with PostgresServer(url).database(migrated=False) as database_url:
        yield database_url


@contextmanager
def unaudited() -> Iterator[None]:
    """The same writes without digests and entries; the difference is the cost of the audit log."""
    kept = (Change.append, change.lines_digest, change.lines_marks, Sqlite.next_change)

    def nothing(*_: object) -> str:
        return ""

    def flush(unit: Change, *_: object) -> None:
        unit.flush()

    def number(*_: object) -> int:
        return next(_NUMBERS)

    Change.append = flush  # type: ignore[method-assign, assignment]
    change.lines_digest = change.lines_marks = nothing
    Sqlite.next_change = number  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        Change.append = kept[0]  # type: ignore[method-assign]
        change.lines_digest, change.lines_marks = kept[1:3]
        Sqlite.next_change = kept[3]  # type: ignore[method-assign]


def timed(action: Callable[[], object]) -> float:
    """Seconds an action takes."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def measure_recording(report: Report, store: Store, load: Load) -> None:
    """Store all rows, batch by batch, and report the pace meanwhile."""
    report.head("inspections so far", "rows/s in record()", f"against {ROWS_BAR:,}", "batch p99")
    durations: list[float] = []
    processor = 0.0
    started = time.perf_counter()
    step = max(BATCH, load.rows // 10)
    for done, (run_id, batch) in enumerate(load.batches(store, BATCH), start=1):
        before = time.process_time()
        durations.append(timed(record_in(store, run_id, batch)))
        processor += time.process_time() - before
        if done * BATCH % step == 0:
            latest = durations[-(step // BATCH) :]
            pace = BATCH / statistics.median(latest)
            p99 = sorted(latest)[int(len(latest) * 0.99)]
            report.row(
                f"{done * BATCH:,}", f"{pace:,.0f}", f"{pace / ROWS_BAR:.1f} x", f"{p99:.3f} s"
            )
    wall = time.perf_counter() - started
    total = len(durations) * BATCH / sum(durations)
    report.say()
    report.say(
        f"All {load.rows:,}: **{total:,.0f} inspections/s** in record(), one process writing"
        f" ({total / ROWS_BAR:.1f} x the bar); {load.rows / wall:,.0f}/s including the"
        f" generation of data in the same process. Its own processor time is"
        f" {processor / load.rows * 1e6:.0f} µs for an inspection; load average"
        f" {os.getloadavg()[1]:.1f} on {os.cpu_count()} cores meanwhile."
    )


def measure_audit_cost(report: Report, store: Store, load: Load) -> None:
    """Alternate writes with and without the audit log, whose chain is broken afterwards."""
    pace: dict[str, list[float]] = {"with": [], "without": []}
    for name in ("with", "without") * 3:
        batches = list(load.one_more_run(store, 20, BATCH))
        with unaudited() if name == "without" else nullcontext():
            seconds = sum(timed(record_in(store, run_id, batch)) for run_id, batch in batches)
        pace[name].append(20 * BATCH / seconds)
    with_it, without = (statistics.median(pace[name]) for name in ("with", "without"))
    report.say(
        f"Cost of the audit log: {with_it:,.0f} inspections/s with it,"
        f" {without:,.0f}/s without ({with_it / without:.2f} of the pace)."
    )
    report.say()


def record_in(store: Store, run_id: str, batch: list[NewInspection]) -> Callable[[], object]:
    """The call that is measured."""
    return lambda: store.inspections.record(run_id, batch)


def measure_queries(report: Report, store: Store) -> None:
    """Each of the auditor's questions, five times."""
    report.head("question", "rows", "median", "slowest", f"against {QUERY_BAR:.0f} s")
    with store.database.read() as conn:
        for question, sql in auditor_queries():
            durations = []
            rows = 0
            for _ in range(5):
                start = time.perf_counter()
                rows = len(conn.exec_driver_sql(sql).all())
                durations.append(time.perf_counter() - start)
            median = statistics.median(durations)
            verdict = "ok" if max(durations) < QUERY_BAR else "**too slow**"
            report.row(
                question,
                f"{rows:,}",
                f"{median * 1000:,.1f} ms",
                f"{max(durations) * 1000:,.1f} ms",
                verdict,
            )


def measure_reading(report: Report, store: Store) -> None:
    """Streaming a run, deciding it again, and the slowest calls."""
    rows = 0
    start = time.perf_counter()
    for _ in store.results.rows(RUN_ID):
        rows += 1
    report.say(f"Streaming a run's rows: {rows / (time.perf_counter() - start):,.0f}/s.")

    def verdicts() -> Iterator[NewVerdict]:
        for found in store.verdicts.candidates(RUN_ID):
            yield NewVerdict(found.inspection_id, found.verdict, [{"rule": "same"}])

    start = time.perf_counter()
    decision = store.verdicts.add(RUN_ID, {"confidence": 0.81}, verdicts())
    pace = decision.verdicts / (time.perf_counter() - start)
    report.say(f"Deciding a run again: {pace:,.0f} verdicts/s.")
    counts = [timed(lambda: store.inspections.counts(RUN_ID)) for _ in range(20)]
    report.say(f"Counts of a run: {statistics.median(counts) * 1000:.1f} ms.")


def benchmark(report: Report, url: str, rows: int) -> None:
    """Everything, on one database."""
    load = Load(rows)
    with open_store(url, migrate=True) as store:
        kind = "SQLite" if not store.database.dialect.many_writers else "PostgreSQL"
        with store.database.read() as conn:
            version = conn.exec_driver_sql(
                "SELECT sqlite_version()"
                if not store.database.dialect.many_writers
                else "SHOW server_version"
            ).scalar()
        report.say(f"## {kind} {version}")
        report.say()
        report.say("### Storing")
        report.say()
        measure_recording(report, store, load)
        load.finish(store)
        with store.database.engine.connect() as conn:
            conn.exec_driver_sql("ANALYZE")
            conn.commit()
        report.say()
        report.say("### An auditor's questions")
        report.say()
        measure_queries(report, store)
        report.say()
        report.say("### Reading and deciding")
        report.say()
        measure_reading(report, store)
    report.say()
    report.say("### Verifying")
    report.say()
    results = [measure_verify(url) for _ in range(3)]
    best = statistics.median(result.seconds for result in results)
    result = results[0]
    processor = min(found.processor for found in results)
    if not all(found.ok for found in results):
        raise SystemExit(f"the trail is broken: {result}")
    pace = result.inspections / best
    report.say(
        f"`verify` of {result.inspections:,} inspections ({result.rows:,} rows in all,"
        f" {result.entries:,} audit entries): {best:.1f} s, **{pace:,.0f} inspections/s**"
        f" ({pace / VERIFY_BAR:.1f} x the bar of {VERIFY_BAR:,}), {result.rows / best:,.0f} rows/s,"
        f" at most {result.peak_mb:.0f} MB of memory for the whole process, {processor:.1f} s"
        f" of its own processor time; load average {os.getloadavg()[0]:.1f}."
    )
    with open_store(url) as store:
        measure_audit_cost(report, store, load)


def main() -> None:
    """Parse the command line, measure, write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--url", action="append", default=[])
    parser.add_argument("--keep", action="store_true", help="keep the SQLite file")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        urls = options.url or [
            f"sqlite:///{folder}/store.db",
            "postgresql://postgres@127.0.0.1:5432/test",
        ]
        report = Report()
        report.say("# The store's figures")
        report.say()
        report.say(
            f"Written by `python benchmarks/store.py --rows {options.rows}`: {os.cpu_count()}"
            " cores,"
            f" {platform.machine()}, Python {platform.python_version()}. A quarter of the images"
            " has a segmentation answer with two areas, every line two attributes; batches of"
            f" {BATCH}. Medians; ratios to the required rates."
        )
        report.say()
        for url in urls:
            with fresh(url, options.keep) as database_url:
                benchmark(report, database_url, options.rows)
        options.output.write_text("\n".join(report.lines).rstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
