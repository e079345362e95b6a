"""Runs against a scripted endpoint, compared with a plain boto3 thread pool that knows the
capacity.

    python benchmarks/detection.py                        every scenario, about 15 minutes
    python benchmarks/detection.py steady --images 5000   one of them, with more images

The pool stores nothing and knows every change of the capacity.  Pool and run alternate; ratios
are of the medians, so other load on the machine affects both.  Rates are the endpoint's: from the
first request to the last answer.  The CPU time of an image leaves out the start of the command,
which a run over ten images measures. Figures go to ``detection-results.json``; scenarios that are
not measured keep theirs.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

sys.path.insert(0, str(Path(__file__).parents[1]))

from botocore.config import Config

from lfv.client.api import lookoutvision_client
from tests.support.databases import PostgresServer, own_server

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).with_name("detection-results.json")
PROJECT = "parts"
#: Images of the run that measures the CPU time of a start.
FEW = 10


@dataclass(frozen=True)
class Scenario:
    """`schedule`: (share of the images, requests in flight allowed from there on)."""

    title: str
    seconds: float
    schedule: tuple[tuple[float, int], ...] = ((0.0, 25),)
    images: int = 1500
    settings: tuple[tuple[str, str], ...] = ()

    def script(self, images: int) -> dict[str, Any]:
        """The script for the endpoint."""
        schedule = [[int(share * images), capacity] for share, capacity in self.schedule]
        return {"seconds": self.seconds, "schedule": schedule}

    def ideal_seconds(self, images: int) -> float:
        """Seconds to answer all images with the capacity fully used."""
        ends = [start for start, _ in self.schedule[1:]] + [1.0]
        return sum(
            (end - start) * images * self.seconds / capacity
            for (start, capacity), end in zip(self.schedule, ends, strict=True)
        )


SCENARIOS = {
    "steady": Scenario("200 ms, 25 in flight", 0.2),
    "changing": Scenario(
        "200 ms; 25, 12 and 50 in flight", 0.2, ((0.0, 25), (1 / 3, 12), (2 / 3, 50)), images=3000
    ),
    "fast": Scenario("10 ms, 25 in flight", 0.01, images=3000),
    "small": Scenario("50 ms, 2 in flight", 0.05, ((0.0, 2),), images=300),
    "postgresql": Scenario("200 ms, 25 in flight, PostgreSQL", 0.2),
    "postgresql-fast": Scenario("10 ms, 25 in flight, PostgreSQL", 0.01, images=3000),
}
#: Scenarios on PostgreSQL, whose runs alternate with runs on SQLite.
ON_POSTGRESQL = ("postgresql", "postgresql-fast")


@dataclass(frozen=True)
class Measured:
    """One round: the endpoint's figures, and CPU seconds of the client."""

    figures: dict[str, Any]
    cpu_seconds: float
    wall_seconds: float

    @property
    def rate(self) -> float:
        """Images per second."""
        return float(self.figures["answered"] / self.figures["seconds"])


def end_on_sigterm() -> None:
    """Make SIGTERM raise, so that every process that a benchmark started ends."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))


def main() -> None:
    end_on_sigterm()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("scenarios", nargs="*", choices=[[], *SCENARIOS], default=[])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, help="instead of the scenario's own")
    parser.add_argument("--stream", action="store_true", help="measure the stream without Prefect")
    parser.add_argument("--postgresql", help="URL of a PostgreSQL server (else one of its own)")
    options = parser.parse_args()
    names = options.scenarios or list(SCENARIOS)
    ours = run_stream if options.stream else run_inspection
    report: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    with (
        tempfile.TemporaryDirectory() as place,
        endpoint_in(Path(place)) as url,
        server_at(options.postgresql) as postgresql,
    ):
        for scenario_name in names:
            if scenario_name in ON_POSTGRESQL and postgresql is None:
                continue
            scenario = SCENARIOS[scenario_name]
            images = options.images or scenario.images
            server = postgresql if scenario_name in ON_POSTGRESQL else None
            folder = Path(place) / scenario_name
            name = scenario_name if images == scenario.images else f"{scenario_name} {images}"
            name += f", {'stream' if options.stream else 'lfv inspect'}"
            found = compare(scenario, images, folder, url, options.rounds, ours, server)
            report[name] = {**found, "rounds": options.rounds, "machine": machine()}
            show(scenario.title, found)
    RESULTS.write_text(json.dumps(report, indent=2) + "\n")


def compare(
    scenario: Scenario,
    images: int,
    folder: Path,
    url: str,
    rounds: int,
    ours: Callable[[Path, str, Path, str | None], Measured],
    server: str | None,
) -> dict[str, Any]:
    """Alternate rounds of pool and run; return their medians. Every run has its own database.

    With a `server`, each round has a run on SQLite too.
    """
    pictures = make_images(folder / "images", images)
    make_images(folder / "few", FEW)
    pools: list[Measured] = []
    runs: list[Measured] = []
    on_sqlite: list[Measured] = []

    def run(source: str, number: str, server: str | None = server) -> Measured:
        tell(url, scenario.script(images))
        with new_database(server) as database:
            found = ours(folder / source, url, folder / f"home-{source}-{number}", database)
        if found.figures["answered"] != (FEW if source == "few" else images):
            raise SystemExit(f"{images} images, but {found.figures}")
        return found

    start = run("few", "0")
    for number in range(rounds):
        tell(url, scenario.script(images))
        pools.append(run_pool(pictures, url, scenario, images))
        if server is not None:
            on_sqlite.append(run("images", f"{number}-sqlite", None))
        runs.append(run("images", str(number)))
    ideal = scenario.ideal_seconds(images)
    beside_sqlite = (
        {
            "sqlite_images_per_second": median(run.rate for run in on_sqlite),
            "run_over_sqlite": median(run.rate for run in runs)
            / median(run.rate for run in on_sqlite),
            "sqlite_cpu_ms": 1000 * sum(run.cpu_seconds for run in on_sqlite) / rounds / images,
            "postgresql_cpu_ms": 1000 * sum(run.cpu_seconds for run in runs) / rounds / images,
        }
        if on_sqlite
        else {}
    )
    return {
        **beside_sqlite,
        "title": scenario.title,
        "images": images,
        "ideal_seconds": ideal,
        "pool_images_per_second": median(pool.rate for pool in pools),
        "run_images_per_second": median(run.rate for run in runs),
        "run_over_pool": median(run.rate for run in runs) / median(pool.rate for pool in pools),
        "run_over_pool_each": [run.rate / pool.rate for run, pool in zip(runs, pools, strict=True)],
        "run_over_ideal": median(run.rate for run in runs) * ideal / images,
        "paid_over_ideal": median(run.figures["paid_seconds"] for run in runs) / ideal,
        "throttled_share": median(run.figures["throttled"] for run in runs) / images,
        "pool_cpu_ms": 1000 * median(pool.cpu_seconds for pool in pools) / images,
        "run_cpu_ms": 1000
        * (median(run.cpu_seconds for run in runs) - start.cpu_seconds)
        / (images - FEW),
        "start_cpu_seconds": start.cpu_seconds,
    }


@contextmanager
def server_at(url: str | None) -> Iterator[str | None]:
    """The named PostgreSQL server, else a temporary one; None if there is none."""
    if url is not None:
        yield url
        return
    with (
        tempfile.TemporaryDirectory(prefix="lfv-bench-") as place,
        own_server(Path(place), fsync=True) as server,
    ):
        yield server


@contextmanager
def new_database(server: str | None) -> Iterator[str | None]:
    """A migrated database on a PostgreSQL server; None for the run's own SQLite file."""
    with nullcontext() if server is None else PostgresServer(server).database() as database:
        yield database


def median(values: Iterator[float]) -> float:
    return float(statistics.median(values))


def show(title: str, found: dict[str, Any]) -> None:
    print(
        f"{title:<34} {found['images']:>6} images   {found['run_images_per_second']:7.1f}/s, pool"
        f" {found['pool_images_per_second']:7.1f}/s   ratio {found['run_over_pool']:.3f}   of ideal"
        f" {found['run_over_ideal']:.3f}   paid {found['paid_over_ideal']:.2f}   throttled"
        f" {found['throttled_share']:.2%}   CPU {found['run_cpu_ms']:.2f} ms, pool"
        f" {found['pool_cpu_ms']:.2f} ms, start {found['start_cpu_seconds']:.1f} s   load"
        f" {os.getloadavg()[0]:.1f}"
        + (f"   of SQLite {found['run_over_sqlite']:.3f}" if "run_over_sqlite" in found else ""),
        flush=True,
    )


def make_images(folder: Path, images: int) -> list[Path]:
    """PNG files of 64x64 pixels that differ in a text chunk."""
    from io import BytesIO

    from PIL import Image

    out = BytesIO()
    Image.effect_noise((64, 64), 60).save(out, "PNG")
    whole = out.getvalue()
    folder.mkdir(parents=True)
    made = []
    for number in range(images):
        content = b"tEXtComment\0" + f"{uuid4()} {number}".encode()
        chunk = (
            (len(content) - 4).to_bytes(4, "big") + content + zlib.crc32(content).to_bytes(4, "big")
        )
        path = folder / f"{number:06}.png"
        path.write_bytes(whole[:-12] + chunk + whole[-12:])
        made.append(path)
    return made


def run_pool(pictures: Sequence[Path], url: str, scenario: Scenario, images: int) -> Measured:
    """A thread pool over boto3; a semaphore follows the schedule."""
    most = max(capacity for _, capacity in scenario.schedule)
    client = lookoutvision_client(
        endpoint_url=url,
        config=Config(max_pool_connections=most, retries={"total_max_attempts": 1}),
    )
    client.start_model(ProjectName=PROJECT, ModelVersion="1", MinInferenceUnits=1)
    schedule = {int(share * images): capacity for share, capacity in scenario.schedule}
    permits = threading.Semaphore(schedule[0])
    lock = threading.Lock()
    state = {"answered": 0, "capacity": schedule[0]}

    def ask(path: Path) -> None:
        permits.acquire()
        body = path.read_bytes()
        while True:
            try:
                client.detect_anomalies(
                    ProjectName=PROJECT, ModelVersion="1", Body=body, ContentType="image/png"
                )
                break
            except client.exceptions.ThrottlingException:
                time.sleep(0.05)  # the capacity has just decreased
        with lock:
            state["answered"] += 1
            change = schedule.get(state["answered"], state["capacity"]) - state["capacity"]
            state["capacity"] += change
        if change < 0:
            for _ in range(-change):
                threading.Thread(target=permits.acquire, daemon=True).start()
        permits.release(1 + max(0, change))

    before, began = time.process_time(), time.monotonic()
    with ThreadPoolExecutor(most) as pool:
        list(pool.map(ask, pictures))
    cpu, wall = time.process_time() - before, time.monotonic() - began
    client.stop_model(ProjectName=PROJECT, ModelVersion="1")
    return Measured(figures(url), cpu, wall)


def run_inspection(folder: Path, url: str, home: Path, database: str | None) -> Measured:
    """Run `lfv inspect` with default settings."""
    before, began = children_cpu(), time.monotonic()
    with inspection(folder, url, home, database) as process:
        status = process.wait()
    if status:
        raise SystemExit(f"lfv inspect ended with status {status}")
    return Measured(figures(url), children_cpu() - before, time.monotonic() - began)


def environment_of(url: str, home: Path) -> dict[str, str]:
    """The environment of a command whose models are at an endpoint."""
    return {
        **os.environ,
        "LFV_HOME": str(home),
        "LFV_ENDPOINT_URL": url,
        "PREFECT_HOME": str(home / "prefect"),
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_DEFAULT_REGION": "us-east-1",
    }


@contextmanager
def inspection(
    folder: Path, url: str, home: Path, database: str | None, *options: str
) -> Iterator[subprocess.Popen[bytes]]:
    """The process of `lfv inspect`; the end of the block ends it."""
    environment = environment_of(url, home)
    if database:
        environment["LFV_DATABASE_URL"] = database
    lfv = str(Path(sys.executable).with_name("lfv"))
    command = [lfv, "inspect", str(folder), "--json", "--project", PROJECT, *options]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, start_new_session=True
    ) as process:
        try:
            yield process
        except BaseException:
            process.terminate()  # a killed command leaves its Prefect server behind
            with suppress(subprocess.TimeoutExpired):
                process.wait(60)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise


def run_stream(folder: Path, url: str, home: Path, database: str | None) -> Measured:
    """The detection of a run in this process, without Prefect and the start of a command."""
    from lfv.client.hosts import Units
    from lfv.client.manifests import read_manifest
    from lfv.client.policy import Policy
    from lfv.run.active import open_run
    from lfv.run.context import InspectionRequest
    from lfv.run.detection.detect import detect_batch
    from lfv.run.detection.stream import DetectionStream
    from lfv.run.plan import plan_lines
    from lfv.run.start import RunStarter, begin_run
    from lfv.settings import Settings
    from lfv_store import open_store

    os.environ.setdefault("AWS_ACCESS_KEY_ID", "x")
    os.environ.setdefault("AWS_SECRET_ACCESS_KEY", "x")
    home.mkdir()
    settings = Settings(home=home, endpoint_url=url, database_url=database or "")
    with open_store(settings.store_url, migrate=True) as store:
        policy = Policy.from_confidence(0.8).to_dict()
        request = InspectionRequest(str(folder), PROJECT, policy=policy)
        context = RunStarter(store, settings, url).proceed(begin_run(store, request))
        with open_run(context, store) as run:
            lines = list(read_manifest(str(folder), run.reader))
            plan_lines(run, lines)
            items = store.inspections.pending(run.run_id, limit=len(lines))
            run.host.start(Units(1), str(uuid4()))
            before, began = time.process_time(), time.monotonic()
            with DetectionStream(run):
                detect_batch(run, items)
            cpu, wall = time.process_time() - before, time.monotonic() - began
            run.host.stop(str(uuid4()))
    return Measured(figures(url), cpu, wall)


def children_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def tell(url: str, script: dict[str, Any]) -> None:
    request = urllib.request.Request(f"{url}/script", json.dumps(script).encode(), method="POST")  # noqa: S310
    urllib.request.urlopen(request).close()  # noqa: S310


def figures(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"{url}/figures") as answer:  # noqa: S310
        found: dict[str, Any] = json.load(answer)
        return found


@contextmanager
def endpoint_in(folder: Path) -> Iterator[str]:
    """A scripted endpoint in a separate process."""
    ready = folder / "ready"
    script = ROOT / "benchmarks" / "scripted_endpoint.py"
    process = subprocess.Popen([sys.executable, str(script), str(ready)])
    try:
        while not ready.exists():
            if process.poll() is not None:
                raise SystemExit("the endpoint did not start")
            time.sleep(0.05)
        yield ready.read_text()
    finally:
        process.terminate()
        process.wait()


def machine() -> dict[str, Any]:
    """Facts that the figures depend on."""
    return {
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "architecture": platform.machine(),
        "load_average": round(os.getloadavg()[0], 1),
    }


if __name__ == "__main__":
    main()
