"""Images per second through the service: the cookies' segmentation model on two inference units.

    python benchmarks/throughput_service.py

The model is trained through the API. First one client sends one image after the other (latency),
then several keep every unit busy (throughput). The clients are threads of this process and use
plain HTTP, so that they take little CPU from the units. CPU time per image is measured as well, as
other load on the machine affects it least.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.engine import DATA, RESULTS, keep
from tests.server.test_hosting import workers
from tests.support.service import BUCKET, Service, host, make_dataset, model_in, running

PROJECT = "cookies"
UNITS = 2
#: Concurrent client threads: enough that no unit waits for a client.
CLIENTS = 6
#: Images of the latency measurement.
ALONE = 60
TICKS = os.sysconf("SC_CLK_TCK")


def train_cookies(client: Any, service: Service) -> None:
    """A model of the sample's training images and masks."""
    source = DATA / "cookies"
    shutil.copytree(source, service.bucket / PROJECT)
    lines = []
    for text in (source / "train.manifest").read_text(encoding="utf-8").splitlines():
        row = json.loads(text)
        for key in ("source-ref", "anomaly-mask-ref"):
            if key in row:
                row[key] = f"s3://{BUCKET}/{PROJECT}/{row[key]}"
        lines.append(json.dumps(row))
    client.create_project(ProjectName=PROJECT)
    make_dataset(client, service, PROJECT, lines, "train")
    client.create_model(ProjectName=PROJECT, OutputConfig={"S3Location": {"Bucket": BUCKET}})
    described = model_in(client, PROJECT, "TRAINED", "TRAINING_FAILED", seconds=1800)
    if described["Status"] != "TRAINED":
        raise SystemExit(described["StatusMessage"])


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def ask(connection: http.client.HTTPConnection, body: bytes) -> int:
    path = f"/2020-11-20/projects/{PROJECT}/models/1/detect"
    connection.request("POST", path, body, {"Content-Type": "image/jpeg"})
    answer = connection.getresponse()
    answer.read()
    return answer.status


def alone(port: int, bodies: list[bytes]) -> dict[str, float]:
    """Send one request after the other; return the milliseconds of each."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    taken = []
    for number in range(ALONE):
        began = time.perf_counter()
        if ask(connection, bodies[number % len(bodies)]) != 200:
            raise SystemExit("an image was not answered")
        taken.append(1000 * (time.perf_counter() - began))
    connection.close()
    taken.sort()
    return {"p50": round(taken[ALONE // 2], 1), "p95": round(taken[int(ALONE * 0.95)], 1)}


def saturated(port: int, bodies: list[bytes], seconds: float) -> tuple[int, int, float]:
    """Keep every unit busy; return the images answered, the requests throttled and the seconds."""
    counts = {200: 0, 429: 0}
    lock = threading.Lock()
    until = time.monotonic() + seconds

    def client(images: Iterator[bytes]) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        for body in images:
            if time.monotonic() > until:
                break
            status = ask(connection, body)
            with lock:
                counts[status] += 1
        connection.close()

    def endless(first: int) -> Iterator[bytes]:
        while True:
            yield bodies[first % len(bodies)]
            first += 1

    threads = [threading.Thread(target=client, args=(endless(n),)) for n in range(CLIENTS)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return counts[200], counts[429], time.monotonic() - began


def measure(seconds: float) -> dict[str, Any]:
    options = {"engine": "lfv.engine", "limits": {"inference_units": UNITS}}
    with tempfile.TemporaryDirectory() as folder, running(Path(folder), **options) as service:
        client = service.client()
        train_cookies(client, service)
        images = sorted((DATA / "cookies").rglob("*.jpg"))[:30]
        bodies = [path.read_bytes() for path in images]
        host(client, PROJECT, UNITS)
        latency = alone(service.port, bodies)
        assert service.process is not None
        parties = {"units": workers(service), "service": [service.process.pid]}
        parties["clients"] = [os.getpid()]
        before = {name: sum(map(cpu_seconds, pids)) for name, pids in parties.items()}
        answered, throttled, took = saturated(service.port, bodies, seconds)
        spent = {n: sum(map(cpu_seconds, pids)) - before[n] for n, pids in parties.items()}
    each = {name: round(1000 * value / answered, 1) for name, value in spent.items()}
    return {
        "units": UNITS,
        "images": answered,
        "throttled": throttled,
        "images_per_second": round(answered / took, 1),
        "cpu_ms_per_image": each,
        "share_of_the_cores_used": round(sum(spent.values()) / took / (os.cpu_count() or 1), 2),
        "latency_ms_alone": latency,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--seconds", type=float, default=20)
    measured = measure(parser.parse_args().seconds)
    print(json.dumps(measured, indent=1))
    keep("serving", measured)
    print(f"kept in {RESULTS.name}")


if __name__ == "__main__":
    main()
