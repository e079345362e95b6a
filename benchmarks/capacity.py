"""Speed on one machine: the start of a run, planning, a resumed run, the store, the service, pages.

    python benchmarks/capacity.py [PART ...] [--lines 100000]

Every part takes less than two minutes and prints one table; the figures go to
benchmarks/capacity-results.json with the facts of the machine. Figures that are compared come from
one process or alternate, so that other load affects all of them. Parts: start, planning, resume,
store, service, pages.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from lfv.client.sources import SourceReader
from lfv.formats.manifest.records import ManifestItem
from lfv.run.active import ActiveRun
from lfv.run.context import InspectionRequest, RunContext
from lfv.run.control import RunControl
from lfv.run.plan import plan_lines
from lfv.run.report import report_run
from lfv.settings import get_settings
from lfv_store import ImageFacts, NewDetection, NewInspection, open_store
from tests.support.databases import PostgresServer, own_server
from tests.support.store_samples import a_model, a_run

RESULTS = Path(__file__).with_name("capacity-results.json")
LFV = Path(sys.executable).with_name("lfv")
BATCH = 500
ROUNDS = 3
POLICY = {"version": 2, "default": {"classification": {"min_confidence": 0.8}}}


def machine() -> dict[str, Any]:
    """The machine and versions of the measurement."""
    memory = re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())
    return {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "cores": os.cpu_count(),
        "architecture": platform.machine(),
        "memory_gb": round(int(memory[1]) / 1e6, 1) if memory else None,
        "python": platform.python_version(),
        "load_average": round(os.getloadavg()[0], 1),
    }


# -- start ----------------------------------------------------------------------------------------


def measure_start(folder: Path, _: argparse.Namespace) -> dict[str, Any]:
    """Seconds from the command to the first request, and from the last answer to the prompt."""
    home = demo_home(folder)
    pictures = folder / "ten"
    pictures.mkdir()
    for path in sorted((home / "images" / "inspect" / "images").iterdir())[:10]:
        shutil.copy(path, pictures)
    command = [str(LFV), "inspect", str(pictures), "--project", "demo-flange", "--again"]
    rounds: list[dict[str, float]] = []
    for _round in range(ROUNDS):
        began = time.monotonic()
        marks: dict[str, float] = {}
        with subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(home),
        ) as process:
            assert process.stderr is not None
            for line in process.stderr:
                marks.setdefault(line.strip(), time.monotonic() - began)
        end = time.monotonic() - began
        rounds.append(
            {
                "planned": marks["inspect: 10 manifest lines checked"],
                "hosted": marks["inspect: HOSTED (The model is running.)"],
                "first request": marks["inspect: detecting anomalies"],
                "last answer": marks["inspect: releasing the model"],
                "prompt": end,
            }
        )
    found = {name: round(statistics.median(one[name] for one in rounds), 2) for name in rounds[0]}
    back = statistics.median(one["prompt"] - one["last answer"] for one in rounds)
    return {**found, "prompt after the last answer": round(back, 2)}


def demo_home(folder: Path) -> Path:
    """A home folder with a trained model and images."""
    home = folder / "demo"
    if not home.exists():
        subprocess.run(
            [str(LFV), "demo", "--output", str(home)],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment(folder / "other"),
        )
    return home


def environment(home: Path) -> dict[str, str]:
    """The environment of a command, with only its home folder set."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("LFV_", "PREFECT_"))
    }
    home.mkdir(parents=True, exist_ok=True)  # Prefect creates its folder, but no parents
    return {**kept, "LFV_HOME": str(home), "PREFECT_HOME": str(home / "prefect")}


# -- planning -------------------------------------------------------------------------------------


class Pictures:
    """A reader of synthetic images: small PNG files that differ in a comment."""

    def __init__(self, distinct: int) -> None:
        self._distinct = distinct
        self._before, self._after = _png()

    def read_image(self, source_ref: str) -> tuple[bytes, str | None]:
        """The image of a line."""
        number = int(source_ref.rpartition("/")[2]) % self._distinct
        comment = b"tEXtComment\0%d" % number
        chunk = len(comment[4:]).to_bytes(4) + comment + zlib.crc32(comment).to_bytes(4)
        return self._before + chunk + self._after, None


def _png() -> tuple[bytes, bytes]:
    """A PNG file, split where more chunks may be inserted."""
    import io

    from PIL import Image

    stream = io.BytesIO()
    Image.new("L", (64, 64), 128).save(stream, "PNG")
    data = stream.getvalue()
    return data[:-12], data[-12:]


def measure_planning(folder: Path, given: argparse.Namespace) -> dict[str, Any]:
    """CPU milliseconds for a line, and memory."""
    found: dict[str, Any] = {}
    sizes = [size for size in (1_000, 10_000, 100_000, 1_000_000) if size <= given.lines]
    for lines in sizes:
        for name, distinct in (("distinct", lines), ("each ten times", max(1, lines // 10))):
            order = [
                "plan",
                str(lines),
                str(distinct),
                str(folder / f"{lines}-{distinct}"),
            ]
            found[f"{lines:,} lines, {name}"] = worker(*order)
    return found


def plan_worker(lines: int, distinct: int, folder: Path) -> dict[str, Any]:
    """Plan this many lines in this process."""
    settings = get_settings(home=folder)
    with open_store(settings.store_url) as store:
        model_id = a_model(store)
        run_id = a_run(store, model_id)
        request = InspectionRequest(source="made-up", project="bottles", policy=POLICY)
        context = RunContext(
            run_id, model_id, request, "1", None, False, POLICY, (64, 64), 0, settings
        )
        reader: Any = Pictures(distinct)
        host: Any = None
        run = ActiveRun(context, store, reader, host, RunControl())
        cpu, began = time.process_time(), time.monotonic()
        for batch in batches(lines):
            plan_lines(run, batch)
        cpu, seconds = time.process_time() - cpu, time.monotonic() - began
        assert store.inspections.counts(run_id).pending == lines
    return {
        "cpu_ms_per_line": round(cpu / lines * 1000, 3),
        "seconds": round(seconds, 1),
        "peak_mb": round(peak_mb()),
    }


def batches(lines: int) -> Iterator[list[ManifestItem]]:
    """The lines of a manifest, some hundreds at a time."""
    for first in range(1, lines + 1, BATCH):
        numbers = range(first, min(first + BATCH, lines + 1))
        yield [ManifestItem(number, f"/data/{number}", f"/data/{number}") for number in numbers]


def peak_mb() -> float:
    """Peak memory of this process, in MB."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


# -- resume ---------------------------------------------------------------------------------------


def measure_resumed(folder: Path, given: argparse.Namespace) -> dict[str, Any]:
    """Seconds of `lfv inspect --resume` when all but the last thousand lines are done."""
    from benchmarks.resume import measure_resume

    return measure_resume(given.lines, folder)


# -- store ----------------------------------------------------------------------------------------


def measure_store(folder: Path, given: argparse.Namespace) -> dict[str, Any]:
    """Commits of single and many answers while a run's images are read, and a report of all."""
    found = {"SQLite": worker("store", f"sqlite:///{folder / 'store' / 'x.db'}", "20000")}
    with tempfile.TemporaryDirectory(prefix="lfv-bench-") as own, ExitStack() as stack:
        url = given.postgresql or stack.enter_context(own_server(Path(own), fsync=True))
        if url is not None:
            database = stack.enter_context(PostgresServer(url).database(migrated=False))
            found["PostgreSQL"] = worker("store", database, "20000")
    return found


def store_worker(url: str, records: int) -> dict[str, Any]:
    """Record single answers, then batches from four threads, then report the run."""
    with open_store(url, migrate=True) as store:
        model_id = a_model(store)
        run_id = a_run(store, model_id)
        singles = 600
        for line in range(1, 101):
            store.inspections.record(run_id, [answer(model_id, line)])
        cpu, began = time.process_time(), time.monotonic()
        for line in range(101, 101 + singles):
            store.inspections.record(run_id, [answer(model_id, line)])
        one_cpu = (time.process_time() - cpu) / singles
        one = (time.monotonic() - began) / singles
        rows = [answer(model_id, line) for line in range(1000, 1000 + records)]
        groups = [rows[first : first + 100] for first in range(0, len(rows), 100)]
        began = time.monotonic()
        run_threads(4, groups, lambda group: store.inspections.record(run_id, group))
        batched = records / (time.monotonic() - began)
        folder = Path(tempfile.mkdtemp())
        settings = get_settings(home=folder)
        before, began = peak_mb(), time.monotonic()
        with SourceReader({}, None, None) as reader:
            report_run(run_id, store, reader, settings)
        reported = time.monotonic() - began
        shutil.rmtree(folder)
    return {
        "cpu_ms_for_a_commit_of_one": round(one_cpu * 1000, 2),
        "ms_for_a_commit_of_one": round(one * 1000, 2),
        "records_per_second": round(batched),
        "report_seconds": round(reported, 1),
        "report_mb": round(peak_mb() - before),
    }


def run_threads(count: int, items: list[Any], action: Callable[[Any], object]) -> None:
    """Call `action` with every item, several at a time."""
    lock = threading.Lock()

    def work() -> None:
        while True:
            with lock:
                if not items:
                    return
                item = items.pop()
            action(item)

    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def answer(model_id: int, line: int) -> NewInspection:
    """The record of a line."""
    digest = sha256(b"%d" % line).hexdigest()
    now = datetime.now(UTC)
    response = {"Source": {"Type": "direct"}, "IsAnomalous": False, "Confidence": 0.93}
    return NewInspection(
        line_number=line,
        source_ref=f"/data/{line}.png",
        inspected_at=now,
        image=ImageFacts(digest, "png", 64, 64, 2_000),
        detection=NewDetection(
            model_id, digest, response, detected_at=now, request_id=f"r-{line}", latency_ms=5.0
        ),
        verdict="accept",
        attributes={"serial": f"S-{line}"},
    )


# -- service --------------------------------------------------------------------------------------


def measure_service(folder: Path, _: argparse.Namespace) -> dict[str, Any]:
    """Images per second through HTTP as a share of those of the engine alone."""
    from benchmarks.service_ratio import measure

    home = demo_home(folder)
    (artifact,) = (home / "service" / "models").glob("*/artifact")
    images = sorted((home / "images" / "inspect" / "images").iterdir())[:20]
    return {f"{units} units": measure(artifact, images, units, 3.0) for units in (1, 2)}


# -- pages ----------------------------------------------------------------------------------------


def measure_page_times(folder: Path, given: argparse.Namespace) -> dict[str, Any]:
    """Milliseconds of every page of `lfv ui`, on both databases."""
    from benchmarks.pages import measure_pages

    return measure_pages(given.inspections, folder, given.postgresql)


# -- all ------------------------------------------------------------------------------------------


PARTS: dict[str, Callable[[Path, argparse.Namespace], dict[str, Any]]] = {
    "start": measure_start,
    "planning": measure_planning,
    "resume": measure_resumed,
    "store": measure_store,
    "service": measure_service,
    "pages": measure_page_times,
}
WORKERS: dict[str, Callable[..., dict[str, Any]]] = {
    "plan": lambda lines, distinct, folder: plan_worker(int(lines), int(distinct), Path(folder)),
    "store": lambda url, records: store_worker(url, int(records)),
}


def worker(*order: str) -> Any:
    """Figures from a separate process, so that its memory can be measured."""
    done = subprocess.run(
        [sys.executable, __file__, "--worker", *order],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return json.loads(done.stdout)


def show(part: str, found: dict[str, Any]) -> None:
    """Print a part's figures."""
    print(f"\n{part}")
    for name, value in found.items():
        print(f"  {name:<32} {json.dumps(value)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--lines", type=int, default=100_000, help="most lines to plan")
    parser.add_argument(
        "--inspections", type=int, default=50_000, help="inspections in the database of the pages"
    )
    parser.add_argument("--postgresql", help="URL of a server; default: a temporary one")
    parser.add_argument("--worker", nargs="+", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        name, *arguments = given.worker
        print(json.dumps(WORKERS[name](*arguments)))
        return
    report = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    with tempfile.TemporaryDirectory() as folder:
        for name in given.parts or PARTS:
            began = time.monotonic()
            found = PARTS[name](Path(folder), given)
            show(name, found)
            seconds = round(time.monotonic() - began)
            report[name] = {"machine": machine(), "took_seconds": seconds, "figures": found}
            RESULTS.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
