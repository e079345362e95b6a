"""One Dask worker against two, on a model that answers faster than one process asks.

    python benchmarks/many_machines.py --postgresql URL      URL of an empty PostgreSQL database

Workers, database and model share this machine: with fewer than four cores, the ratio says more of
the machine than of the work.  Rounds alternate; the ratio is of the medians.  Rates are the
endpoint's: from the first request to the last answer.
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
    endpoint_in,
    machine,
    make_images,
    median,
    run_inspection,
    tell,
)


@contextmanager
def cluster(folder: Path, workers: int) -> Iterator[str]:
    """A scheduler with workers of one process each; the scheduler's address."""
    file = folder / f"scheduler-{time.monotonic_ns()}.json"
    place = ("--host", "127.0.0.1", "--scheduler-file", str(file), "--no-dashboard")
    dask = [sys.executable, "-m", "dask"]
    with ExitStack() as stack, (folder / "dask.log").open("ab") as log:

        def start(*arguments: str) -> None:
            command = [*dask, *arguments, *place]
            process = stack.enter_context(subprocess.Popen(command, stdout=log, stderr=log))
            stack.callback(process.kill)

        start("scheduler", "--port", "0")
        while not file.exists():
            time.sleep(0.05)
        for _ in range(workers):
            start("worker", "--nthreads", "2", "--no-nanny")
        from distributed import Client

        with Client(scheduler_file=str(file), set_as_default=False) as client:
            client.wait_for_workers(workers, timeout=120)
            address = str(client.scheduler.address)
        yield address


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--postgresql", required=True, help="URL of an empty PostgreSQL database")
    parser.add_argument("--images", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    scenario = Scenario("10 ms, 128 in flight", 0.01, ((0.0, 128),))
    os.environ["LFV_TASK_RUNNER"] = "dask"
    os.environ["LFV_REQUESTS_PER_UNIT"] = "128"
    rates: dict[int, list[float]] = {1: [], 2: []}
    with tempfile.TemporaryDirectory() as name, endpoint_in(Path(name)) as url:
        for number in range(given.rounds):
            for workers, found in rates.items():
                folder = Path(name) / f"images-{number}-{workers}"  # new ones: no answer is known
                make_images(folder, given.images)
                tell(url, scenario.script(given.images))
                with cluster(Path(name), workers) as address:
                    os.environ["LFV_DASK_ADDRESS"] = address
                    home = Path(name) / f"home-{number}-{workers}"
                    found.append(run_inspection(folder, url, home, given.postgresql).rate)
    one, two = (median(iter(found)) for found in rates.values())
    figures = {"machine": machine(), "images_per_second": rates, "two_over_one": two / one}
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
