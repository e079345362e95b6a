"""The time that the API adds to an image.

    python benchmarks/latency_service.py

The engine only decodes a tiny image.
"""

from __future__ import annotations

import http.client
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.support.service import detect, host, make_model, png, running

REQUESTS = 400


def quantiles(ask: Callable[[], Any]) -> dict[str, float]:
    """Milliseconds."""
    taken = []
    for _ in range(REQUESTS):
        began = time.perf_counter()
        ask()
        taken.append(1000 * (time.perf_counter() - began))
    taken.sort()
    return {
        "p50_ms": round(taken[len(taken) // 2], 2),
        "p99_ms": round(taken[int(len(taken) * 0.99)], 2),
    }


def main() -> None:
    found = {}
    with tempfile.TemporaryDirectory() as folder, running(Path(folder)) as service:
        client = service.client()
        make_model(client, service, "p")
        host(client, "p")
        connection = http.client.HTTPConnection("127.0.0.1", service.port)

        def raw(body: bytes) -> None:
            path = "/2020-11-20/projects/p/models/1/detect"
            connection.request("POST", path, body, {"Content-Type": "image/png"})
            connection.getresponse().read()

        tiny = png()
        for name, body in (("100 B", tiny), ("450 KB", tiny + bytes(450_000))):
            found[f"{name}, plain HTTP"] = quantiles(lambda body=body: raw(body))  # type: ignore[misc]
            found[f"{name}, boto3"] = quantiles(lambda body=body: detect(client, "p", body))  # type: ignore[misc]
        connection.close()
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
