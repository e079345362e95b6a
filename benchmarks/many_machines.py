"""One process that inspects against two, each with the CPU time of a slow machine.

    python benchmarks/many_machines.py [dask] [shards]

Workers, database, scheduler and model share this machine.  The kernel limits each worker to a share
of a core, so that two workers never compete for CPU time, just as on two machines. The figure shows
whether a second worker doubles the rate. This needs Linux and permission to create control groups.
Rounds alternate; the ratio is of the medians.  Rates are the endpoint's.

With Dask, workers are those of a cluster, and the process that leads the run inspects nothing.
Rates are from the first request to the last answer.

With shards, the process that leads the run also inspects: `lfv inspect --shards` alone, or with a
flow run of a Prefect process worker.  A flow run takes seconds to start, which is not part of the
comparison: the endpoint answers slowly until all processes take part, and rates are measured from
then on.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.detection import (
    Scenario,
    end_on_sigterm,
    endpoint_in,
    figures,
    inspection,
    machine,
    make_images,
    median,
    new_database,
    run_inspection,
    server_at,
    tell,
)
from lfv_store import open_store
from tests.support.prefect_server import PrefectServer, prefect_server

_GROUPS = Path("/sys/fs/cgroup")
#: Microseconds over which the kernel gives a group its share.
_PERIOD = 10_000
_SCENARIO = Scenario("50 ms, 128 in flight", 0.05, ((0.0, 128),))
#: Seconds for an answer until all processes that inspect take part.
_SLOW_SECONDS = 3.0
_JOIN_SECONDS = 120.0
_END_SECONDS = 20.0
_POOL = "inspection"


@contextmanager
def share_of_a_core(share: float, name: str) -> Iterator[Path]:
    """Limit a control group to a share of a core; yield the file that adds processes to it."""
    old = (_GROUPS / "cpu").is_dir()
    group = (_GROUPS / "cpu" if old else _GROUPS) / f"lfv-{os.getpid()}-{name}"
    quota = int(share * _PERIOD)
    try:
        group.mkdir()
        if old:
            (group / "cpu.cfs_period_us").write_text(str(_PERIOD))
            (group / "cpu.cfs_quota_us").write_text(str(quota))
        else:
            (group / "cpu.max").write_text(f"{quota} {_PERIOD}")
    except OSError as error:
        raise SystemExit(f"no control group can be made: {error}") from None
    try:
        yield group / "cgroup.procs"
    finally:
        deadline = time.monotonic() + _END_SECONDS
        while (group / "cgroup.procs").read_text() and time.monotonic() < deadline:
            time.sleep(0.1)
        group.rmdir()


@contextmanager
def cluster(folder: Path, workers: int, share: float) -> Iterator[str]:
    """A scheduler with workers of one process each; the scheduler's address."""
    file = folder / f"scheduler-{time.monotonic_ns()}.json"
    place = ("--host", "127.0.0.1", "--scheduler-file", str(file), "--no-dashboard")
    dask = [sys.executable, "-m", "dask"]
    with ExitStack() as stack, (folder / "dask.log").open("ab") as log:

        def start(*arguments: str) -> int:
            command = [*dask, *arguments, *place]
            process = stack.enter_context(subprocess.Popen(command, stdout=log, stderr=log))
            stack.callback(process.kill)
            return process.pid

        start("scheduler", "--port", "0")
        while not file.exists():
            time.sleep(0.05)
        groups = [
            stack.enter_context(share_of_a_core(share, str(number))) for number in range(workers)
        ]
        processes = [start("worker", "--nthreads", "2", "--no-nanny") for _ in groups]
        from distributed import Client

        with Client(scheduler_file=str(file), set_as_default=False) as client:
            client.wait_for_workers(workers, timeout=120)
            client.run(_import)
            address = str(client.scheduler.address)
        for group, process in zip(groups, processes, strict=True):
            group.write_text(str(process))
        yield address


def _import() -> None:
    """Make a worker import what a batch needs, as in a cluster that has been up for long."""
    import tasks.detect_anomalies  # noqa: F401


@dataclass(frozen=True)
class Setting:
    """Where a round takes place; `prefect` has the deployments, if shards are measured."""

    folder: Path
    images: int
    url: str
    share: float
    prefect: PrefectServer | None

    @property
    def pictures(self) -> Path:
        return self.folder / "images"


def with_dask(setting: Setting, workers: int, database: str, home: Path) -> float:
    """Images per second of Dask workers."""
    tell(setting.url, _SCENARIO.script(setting.images))
    with cluster(setting.folder, workers, setting.share) as address:
        os.environ |= {"LFV_TASK_RUNNER": "dask", "LFV_DASK_ADDRESS": address}
        return run_inspection(setting.pictures, setting.url, home, database).rate


def with_shards(setting: Setting, workers: int, database: str, home: Path) -> float:
    """Images per second of a leading process and of `workers` - 1 shards."""
    assert setting.prefect is not None
    tell(setting.url, {**_SCENARIO.script(setting.images), "seconds": _SLOW_SECONDS})
    os.environ |= setting.prefect.environment
    with ExitStack() as stack:
        groups = [
            stack.enter_context(share_of_a_core(setting.share, f"shard-{number}"))
            for number in range(workers)
        ]
        for _ in range(workers - 1):
            stack.enter_context(_prefect_worker(database, home))
        # Without a Prefect worker, the shard is never started, and the leader inspects alone.
        options = ("--shards", str(max(1, workers - 1)))
        process = stack.enter_context(
            inspection(setting.pictures, setting.url, home, database, *options)
        )
        for group, pid in zip(groups, _taking_part(database, workers, process), strict=True):
            group.write_text(str(pid))
        answered = int(figures(setting.url)["answered"])
        tell(setting.url, _SCENARIO.script(setting.images))
        found: dict[str, float] = {}
        while process.poll() is None:
            found = figures(setting.url)
            # Requests that were under way when measuring began count as answers, too.
            if found["answered"] >= setting.images - answered - 1:
                _all_of_the_cores(process.pid)  # the report is not measured
            time.sleep(0.2)
        if process.returncode:
            raise SystemExit(f"lfv inspect ended with status {process.returncode}")
        found = figures(setting.url)
        return found["answered"] / found["seconds"]


@contextmanager
def _deployed(folder: Path) -> Iterator[PrefectServer]:
    """A Prefect server with our deployments."""
    folder.mkdir()
    lfv = Path(sys.executable).with_name("lfv")
    with prefect_server(folder) as server:
        environment = {**os.environ, **server.environment, "LFV_HOME": str(folder)}
        command = [lfv, "deploy", "--fast-start"]
        subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
        yield server


@contextmanager
def _prefect_worker(database: str, home: Path) -> Iterator[None]:
    """A process worker with one flow run at a time."""
    prefect = Path(sys.executable).with_name("prefect")
    environment = {
        **os.environ,
        "LFV_DATABASE_URL": database,
        "LFV_HOME": str(home),
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_DEFAULT_REGION": "us-east-1",
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "PATH": f"{prefect.parent}{os.pathsep}{os.environ['PATH']}",
    }
    command = [prefect, "worker", "start", "--pool", _POOL, "--limit", "1"]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            yield
        finally:
            process.terminate()


def _taking_part(database: str, workers: int, process: subprocess.Popen[bytes]) -> list[int]:
    """Process ids of the processes that inspect, once all of them have claimed images."""
    with open_store(database) as store:
        deadline = time.monotonic() + _JOIN_SECONDS
        while time.monotonic() < deadline and process.poll() is None:
            for run in store.runs.list(1):
                joined = [one for one in store.run_workers.list(run.run_id) if one.claims]
                if len(joined) == workers:
                    return [int(one.worker.split("/")[1]) for one in joined]
            time.sleep(0.2)
    raise SystemExit(f"{workers} process(es) did not start within {_JOIN_SECONDS:g} s")


def _all_of_the_cores(pid: int) -> None:
    root = _GROUPS / "cpu" if (_GROUPS / "cpu").is_dir() else _GROUPS
    with suppress(OSError):  # it has ended
        (root / "cgroup.procs").write_text(str(pid))


WAYS: dict[str, Callable[[Setting, int, str, Path], float]] = {
    "dask": with_dask,
    "shards": with_shards,
}


def main() -> None:
    end_on_sigterm()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("ways", nargs="*", choices=[[], *WAYS], default=[], help="default: both")
    parser.add_argument("--postgresql", help="URL of a PostgreSQL server (else one of its own)")
    parser.add_argument("--images", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--share", type=float, default=0.25, help="of a core, for each worker")
    given = parser.parse_args()
    os.environ["LFV_REQUESTS_PER_UNIT"] = "128"
    measured: dict[str, object] = {}
    with (
        tempfile.TemporaryDirectory() as name,
        endpoint_in(Path(name)) as url,
        server_at(given.postgresql) as server,
        ExitStack() as stack,
    ):
        if server is None:
            raise SystemExit("there is no PostgreSQL: name a server with --postgresql")
        ways = given.ways or list(WAYS)
        prefect = None
        if "shards" in ways:
            prefect = stack.enter_context(_deployed(Path(name) / "prefect"))
        setting = Setting(Path(name), given.images, url, given.share, prefect)
        make_images(setting.pictures, given.images)
        before = dict(os.environ)
        for way in ways:
            rates: dict[int, list[float]] = {1: [], 2: []}
            for number in range(given.rounds):
                for workers, found in rates.items():
                    home = setting.folder / f"home-{way}-{number}-{workers}"
                    with new_database(server) as database:
                        found.append(WAYS[way](setting, workers, str(database), home))
                    os.environ.clear()
                    os.environ.update(before)
                    rate = f"{found[-1]:.1f} images/s"
                    print(f"{way}: {workers} worker(s): {rate}", file=sys.stderr, flush=True)
            one, two = (median(iter(found)) for found in rates.values())
            measured[way] = {"images_per_second": rates, "two_over_one": two / one}
    facts = {"machine": machine(), "share_of_a_core": given.share}
    print(json.dumps(facts | measured, indent=2))


if __name__ == "__main__":
    main()
