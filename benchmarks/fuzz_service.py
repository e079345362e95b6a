"""Sends thousands of fuzzed requests to a service with the real engine.

    python benchmarks/fuzz_service.py --requests 5000

Fails on a 500, an answer that does not match the service model, one that takes over 30 s, a dead
inference unit, or memory or files that keep growing. The seed is printed; pass it to repeat a run.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from PIL import Image, ImageDraw

from tests.server.test_hosting import workers
from tests.support.fuzzing import fuzz, resources
from tests.support.pictures import noise
from tests.support.service import (
    BUCKET,
    Service,
    detect,
    host,
    line,
    make_dataset,
    model_in,
    running,
)

SIZE = (96, 80)
MEMORY_GROWTH_KIB = 60_000


def picture(path: Path, chance: random.Random, *, scratched: bool) -> None:
    image = noise(SIZE, 12, chance.randrange(2**32)).convert("RGB")
    draw = ImageDraw.Draw(image)
    draw.ellipse((20, 15, 76, 65), fill=(150, 120, 90))
    mask = Image.new("RGB", SIZE, "white")
    if scratched:
        x, y = chance.randrange(28, 60), chance.randrange(25, 50)
        draw.line((x, y, x + 14, y + 8), fill=(20, 20, 30), width=4)
        ImageDraw.Draw(mask).line((x, y, x + 14, y + 8), fill=(0x23, 0xA4, 0x36), width=4)
    image.save(path)
    mask.save(path.with_suffix(".mask.png"))


def train_real_model(client: Any, service: Service, project: str, *, masks: bool = False) -> None:
    """A model of the real engine, from small pictures made here."""
    chance = random.Random(1)
    folder = service.bucket / project
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for number in range(24):
        scratched = number % 2 == 1
        picture(folder / f"{number}.png", chance, scratched=scratched)
        ref = f"s3://{BUCKET}/{project}/{number}"
        mask = f"{ref}.mask.png" if scratched and masks else None
        lines.append(line(f"{ref}.png", "anomaly" if scratched else "normal", mask=mask))
    client.create_project(ProjectName=project)
    make_dataset(client, service, project, lines, "train")
    client.create_model(ProjectName=project, OutputConfig={"S3Location": {"Bucket": BUCKET}})
    described = model_in(client, project, "TRAINED", "TRAINING_FAILED", seconds=900)
    assert described["Status"] == "TRAINED", described["StatusMessage"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--requests", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", flush=True)
    options = {"engine": "lfv.engine", "limits": {"inference_units": 3}}
    with tempfile.TemporaryDirectory() as folder, running(Path(folder), **options) as service:
        client = service.client()
        train_real_model(client, service, "hosted", masks=True)
        train_real_model(client, service, "other")
        host(client, "hosted")
        (unit,) = workers(service)
        known = (service.bucket / "hosted" / "1.png").read_bytes()
        assert detect(client, "hosted", known)["Anomalies"][0]["Name"] == "background"
        assert service.process is not None
        pids = {"service": service.process.pid, "unit": unit}
        settled: dict[str, dict[str, int]] = {}
        warm_up = arguments.requests // 5

        def told(sent: int) -> None:
            if sent == warm_up:
                settled.update({name: resources(pid) for name, pid in pids.items()})
            if sent % 500 == 0:
                print(f"{sent} requests", flush=True)

        began = time.monotonic()
        tally = fuzz(
            service,
            arguments.requests,
            hosted="hosted",
            size=SIZE,
            projects=["other"],
            number=arguments.seed,
            told=told,
        )
        seconds = time.monotonic() - began
        assert unit in workers(service), "an inference unit died"
        assert detect(client, "hosted", known)["Anomalies"][0]["Name"] == "background"
        succeeded = tally.statuses[200] + tally.statuses[202]
        assert succeeded > arguments.requests / 20, "hardly any request was valid"
        ended = {name: resources(pid) for name, pid in pids.items()}
        for name, now in ended.items():
            growth = now["rss"] - settled[name]["rss"]
            assert growth < MEMORY_GROWTH_KIB, f"{name} grew by {growth} KiB"
            assert now["files"] <= settled[name]["files"] + 12, (name, settled, ended)
        assert "Traceback" not in service.log, service.log[-5000:]
        print(
            json.dumps(
                {
                    "requests": tally.requests,
                    "seconds": round(seconds, 1),
                    "slowest_seconds": round(tally.slowest, 3),
                    "statuses": dict(sorted(tally.statuses.items())),
                    "operations": len(tally.operations),
                    "after_warm_up": settled,
                    "at_the_end": ended,
                },
                indent=2,
            )
        )


if __name__ == "__main__":
    main()
