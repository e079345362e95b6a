"""Keeps a service with the real engine busy for a while and watches its memory.

    python benchmarks/soak_service.py --minutes 60

Four clients inspect images without a pause while a fifth stops, starts and describes models,
updates a dataset and lists everything. Fails on an unsuccessful answer, where throttling of
inspections counts as one, on a request that takes over 30 s, on a client that ends, on
a lost inference unit, and on memory, files or threads that grow between the first and the last
quarter.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from botocore.exceptions import ClientError

from benchmarks.fuzz_service import train_real_model
from tests.server.test_hosting import workers
from tests.support.fuzzing import resources
from tests.support.service import Service, dataset_done, host, model_in, running

INSPECTORS = 4
STUCK_SECONDS = 30.0
GROWTH = {"rss": 1.10, "files": 1.3, "threads": 1.3}
SLACK = {"rss": 15_000, "files": 12, "threads": 4}
EXPECTED = {"detect": "ThrottlingException"}


Task = Callable[["Watch", Service, threading.Event], None]


class Watch:
    """Counts and times calls, and keeps failures."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.latencies: list[float] = []
        self.failures: list[str] = []
        self._under_way: dict[int, float] = {}
        self._lock = threading.Lock()

    def call(self, what: str, function: Any, **names: Any) -> Any:
        me, began = threading.get_ident(), time.monotonic()
        self._under_way[me] = began
        outcome, answer = what, None
        try:
            answer = function(**names)
        except ClientError as error:
            outcome = f"{what}: {error.response['Error']['Code']}"
            if error.response["Error"]["Code"] != EXPECTED.get(what):
                self.failures.append(str(error))
        except Exception as error:  # noqa: BLE001 (whatever it is, it fails the soak)
            self.failures.append(repr(error))
        finally:
            del self._under_way[me]
        with self._lock:
            self.counts[outcome] = self.counts.get(outcome, 0) + 1
            if what == "detect" and answer is not None:
                self.latencies.append(time.monotonic() - began)
        return answer

    def work(self, task: Task, service: Service, ended: threading.Event) -> None:
        """Repeat until stopped; report any other end."""
        try:
            task(self, service, ended)
        except BaseException as error:
            self.failures.append(f"{task.__name__} ended: {error!r}")
            raise

    def stuck(self) -> bool:
        now = time.monotonic()
        return any(now - began > STUCK_SECONDS for began in list(self._under_way.values()))


def inspect(watch: Watch, service: Service, ended: threading.Event) -> None:
    client = service.client()
    images = [(service.bucket / "steady" / f"{n}.png").read_bytes() for n in range(24)]
    while not ended.is_set():
        for body in images:
            watch.call(
                "detect",
                client.detect_anomalies,
                ProjectName="steady",
                ModelVersion="1",
                Body=body,
                ContentType="image/png",
            )


def manage(watch: Watch, service: Service, ended: threading.Event) -> None:
    client = service.client()
    names = {"ProjectName": "changing"}
    model = {**names, "ModelVersion": "1"}
    changes = b"".join(
        json.dumps({"source-ref": f"s3://test-bucket/changing/more-{n}.png"}).encode() + b"\n"
        for n in range(50)
    )
    while not ended.is_set():
        watch.call("start", client.start_model, **model, MinInferenceUnits=1)
        model_in(client, "changing", "HOSTED")
        for _ in range(10):
            watch.call("describe", client.describe_model, **model)
            watch.call("list", client.list_projects)
        dataset = {**names, "DatasetType": "train"}
        watch.call("update", client.update_dataset_entries, **dataset, Changes=changes)
        dataset_done(client, "changing")
        watch.call("entries", client.list_dataset_entries, **dataset)
        watch.call("stop", client.stop_model, **model)
        model_in(client, "changing", "TRAINED")


def flat(samples: list[dict[str, int]]) -> list[str]:
    """What grew between the first and the last quarter of the time."""
    quarter = max(1, len(samples) // 4)
    grown = []
    for what, factor in GROWTH.items():
        early = statistics.median(sample[what] for sample in samples[:quarter])
        late = statistics.median(sample[what] for sample in samples[-quarter:])
        if late > early * factor + SLACK[what]:
            grown.append(f"{what} grew from {early} to {late}")
    return grown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--minutes", type=float, default=60)
    minutes = parser.parse_args().minutes
    options = {"engine": "lfv.engine"}
    with tempfile.TemporaryDirectory() as folder, running(Path(folder), **options) as service:
        client = service.client()
        train_real_model(client, service, "steady", masks=True)
        train_real_model(client, service, "changing")
        host(client, "steady", 1, 2)
        assert service.process is not None
        watch, ended = Watch(), threading.Event()
        work = [inspect] * INSPECTORS + [manage]
        threads = [threading.Thread(target=watch.work, args=(w, service, ended)) for w in work]
        for thread in threads:
            thread.start()
        samples: list[dict[str, int]] = []
        units: dict[int, list[dict[str, int]]] = {}
        began = time.monotonic()
        try:
            while time.monotonic() - began < 60 * minutes and not watch.failures:
                time.sleep(min(5.0, 3 * minutes))
                samples.append(resources(service.process.pid))
                for pid in workers(service):
                    try:
                        units.setdefault(pid, []).append(resources(pid))
                    except (FileNotFoundError, ProcessLookupError, KeyError):
                        continue  # it was just stopped
                assert not watch.stuck(), "a request is stuck"
                print(f"{(time.monotonic() - began) / 60:.1f} min {samples[-1]}", flush=True)
        finally:
            ended.set()
            for thread in threads:
                thread.join(60)
        grown = flat(samples[2:])
        for pid, taken in units.items():
            if len(taken) > 20:
                grown += [f"unit {pid}: {what}" for what in flat(taken[2:])]
        for sign in ("Traceback", "lost an inference unit"):
            if sign in service.log:
                watch.failures.append(f"the service's log has {sign!r}")
        for what in ("detect", "start", "stop", "update", "entries"):
            if not watch.counts.get(what):
                watch.failures.append(f"no success of {what}")
        ordered = sorted(watch.latencies) or [0.0]
        report = {
            "minutes": round((time.monotonic() - began) / 60, 2),
            "calls": dict(sorted(watch.counts.items())),
            "detect_p50_ms": round(1000 * ordered[len(ordered) // 2], 1),
            "detect_p99_ms": round(1000 * ordered[int(len(ordered) * 0.99)], 1),
            "first": samples[0],
            "last": samples[-1],
            "failures": watch.failures[:5],
            "grown": grown,
        }
        print(json.dumps(report, indent=2))
    if watch.failures or grown:
        sys.exit(1)


if __name__ == "__main__":
    main()
