"""Images per second through the service, as a share of those of the engine alone.

    python benchmarks/service_ratio.py --artifact HOME/models/ID/artifact --images FOLDER

The engine alone runs in one process per unit. Rounds of both alternate and their medians are
compared, so that other load on the machine affects both. The clients run on the same machine, which
lowers the service's figure.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.throughput_service import cpu_seconds
from tests.server.test_hosting import workers
from tests.support.service import BUCKET, Service, host, line, make_dataset, model_in, png, running

PROJECT = "ratio"
ROUNDS = 5
CLIENTS_PER_UNIT = 3
ENGINE = """
import sys, time
from pathlib import Path
from lfv.engine import load
model = load(Path(sys.argv[1]))
bodies = [path.read_bytes() for path in map(Path, sys.argv[2:])]
model.predict(bodies[0])
print("ready", flush=True)
for order in sys.stdin:
    start, count = time.monotonic(), 0
    began = time.process_time()
    while time.monotonic() < start + float(order):
        model.predict(bodies[count % len(bodies)])
        count += 1
    print(count, time.process_time() - began, time.monotonic() - start, flush=True)
"""


class Engine:
    """The engine alone, in one process for each unit."""

    def __init__(self, artifact: Path, images: list[Path], units: int) -> None:
        command = [sys.executable, "-c", ENGINE, str(artifact), *map(str, images)]
        self._processes = [
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for _ in range(units)
        ]
        for process in self._processes:
            assert process.stdout is not None
            process.stdout.readline()

    def round(self, seconds: float) -> tuple[float, float]:
        """Return images per second and CPU milliseconds per image."""
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.write(f"{seconds}\n")
            process.stdin.flush()
        answers = [process.stdout.readline().split() for process in self._processes]  # type: ignore[union-attr]
        count = sum(int(answer[0]) for answer in answers)
        rate = sum(int(answer[0]) / float(answer[2]) for answer in answers)
        return rate, 1000 * sum(float(answer[1]) for answer in answers) / count

    def close(self) -> None:
        for process in self._processes:
            process.communicate()


def through_http(
    service: Service, bodies: list[bytes], units: int, seconds: float
) -> tuple[int, float]:
    """Return the number of images answered, and the seconds taken."""
    counts: list[int] = []
    began = time.monotonic()
    until = began + seconds

    def client(first: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", service.port)
        path = f"/2020-11-20/projects/{PROJECT}/models/1/detect"
        count = 0
        for number in itertools.count(first):
            if time.monotonic() > until:
                break
            body = bodies[number % len(bodies)]
            kind = "image/png" if body.startswith(b"\x89PNG") else "image/jpeg"
            connection.request("POST", path, body, {"Content-Type": kind})
            answer = connection.getresponse()
            answer.read()
            count += answer.status == 200
        counts.append(count)
        connection.close()

    threads = [
        threading.Thread(target=client, args=(number,))
        for number in range(CLIENTS_PER_UNIT * units)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts), time.monotonic() - began


def serve_artifact(service: Service, artifact: Path) -> None:
    """Create a project with this artifact as its model, in place of that of a fake engine."""
    client = service.client()
    client.create_project(ProjectName=PROJECT)
    for number in range(4):
        (service.bucket / f"{number}.png").write_bytes(png(bright=number % 2 == 1))
    labels = ["normal", "anomaly"] * 2
    lines = [line(f"s3://{BUCKET}/{n}.png", label) for n, label in enumerate(labels)]
    make_dataset(client, service, PROJECT, lines, "train")
    client.create_model(ProjectName=PROJECT, OutputConfig={"S3Location": {"Bucket": BUCKET}})
    model_in(client, PROJECT, "TRAINED", "TRAINING_FAILED")
    (folder,) = (service.home / "models").iterdir()
    (folder / "artifact").rename(folder / "fake")
    (folder / "artifact").symlink_to(artifact)


def measure(artifact: Path, images: list[Path], units: int, seconds: float) -> dict[str, Any]:
    bodies = [path.read_bytes() for path in images]
    rates: dict[str, list[float]] = {"engine": [], "service": []}
    engine_cpu: list[float] = []
    with tempfile.TemporaryDirectory() as folder, running(Path(folder)) as service:
        serve_artifact(service, artifact.resolve())
        service.stop()
        service.options["engine"] = "lfv.engine"
        service.start()
        host(service.client(), PROJECT, units)
        engine = Engine(artifact, images, units)
        assert service.process is not None
        pids = [*workers(service), service.process.pid]
        spent, answered = 0.0, 0
        for _ in range(ROUNDS):
            rate, cpu = engine.round(seconds)
            rates["engine"].append(rate)
            engine_cpu.append(cpu)
            before = sum(map(cpu_seconds, pids))
            count, took = through_http(service, bodies, units, seconds)
            rates["service"].append(count / took)
            spent += sum(map(cpu_seconds, pids)) - before
            answered += count
        engine.close()
    medians = {name: statistics.median(values) for name, values in rates.items()}
    return {
        "units": units,
        "images_per_second": {name: round(value, 2) for name, value in medians.items()},
        "ratio": round(medians["service"] / medians["engine"], 3),
        "cpu_ms_per_image": {
            "engine": round(statistics.median(engine_cpu), 1),
            "service and units": round(1000 * spent / answered, 1),
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--artifact", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--units", type=int, nargs="+", default=[1, 2])
    given = parser.parse_args()
    images = sorted(p for p in given.images.iterdir() if p.suffix in (".jpg", ".png"))[:20]
    for units in given.units:
        print(json.dumps(measure(given.artifact, images, units, given.seconds), indent=1))


if __name__ == "__main__":
    main()
