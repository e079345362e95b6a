"""One Dask worker against two, each with the CPU time of a slow machine.

    python benchmarks/many_machines.py

Workers, database, scheduler and model share this machine.  Each worker gets a share of a core from
the kernel, so that two workers together leave the machine room, as two machines would: what is
measured is whether a second worker doubles the rate of the first, not the cores of this machine.
That takes Linux and the right to make control groups.  Rounds alternate; the ratio is of the
medians.  Rates are the endpoint's: from the first request to the last answer.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.detection import (
    Scenario,
    end_on_sigterm,
    endpoint_in,
    machine,
    make_images,
    median,
    new_database,
    run_inspection,
    server_at,
    tell,
)

_GROUPS = Path("/sys/fs/cgroup")
#: Microseconds over which the kernel gives a group its share.
_PERIOD = 10_000


@contextmanager
def share_of_a_core(share: float, name: str) -> Iterator[Path]:
    """A control group whose processes together get so much of a core; the file to put them in."""
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
    """Have a worker import what a batch needs: a cluster has been up for long."""
    import tasks.detect_anomalies  # noqa: F401


def main() -> None:
    end_on_sigterm()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--postgresql", help="URL of a PostgreSQL server (else one of its own)")
    parser.add_argument("--images", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--share", type=float, default=0.25, help="of a core, for each worker")
    given = parser.parse_args()
    scenario = Scenario("50 ms, 128 in flight", 0.05, ((0.0, 128),))
    os.environ["LFV_TASK_RUNNER"] = "dask"
    os.environ["LFV_REQUESTS_PER_UNIT"] = "128"
    rates: dict[int, list[float]] = {1: [], 2: []}
    with (
        tempfile.TemporaryDirectory() as name,
        endpoint_in(Path(name)) as url,
        server_at(given.postgresql) as server,
    ):
        if server is None:
            raise SystemExit("there is no PostgreSQL: name a server with --postgresql")
        make_images(Path(name) / "images", given.images)
        for number in range(given.rounds):
            for workers, found in rates.items():
                tell(url, scenario.script(given.images))
                with (
                    cluster(Path(name), workers, given.share) as address,
                    new_database(server) as database,
                ):
                    os.environ["LFV_DASK_ADDRESS"] = address
                    home = Path(name) / f"home-{number}-{workers}"
                    found.append(run_inspection(Path(name) / "images", url, home, database).rate)
                print(f"{workers} worker(s): {found[-1]:.1f} images/s", file=sys.stderr, flush=True)
    one, two = (median(iter(found)) for found in rates.values())
    figures = {
        "machine": machine(),
        "share_of_a_core": given.share,
        "images_per_second": rates,
        "two_over_one": two / one,
    }
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
