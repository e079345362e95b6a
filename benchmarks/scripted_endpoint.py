"""An endpoint of the Lookout for Vision API whose capacity and latency are scripted.

    python benchmarks/scripted_endpoint.py READY_FILE

It answers from one thread and decodes nothing, so that it takes little CPU from the measurement.
``POST /script`` sets `seconds` (an answer's latency) and `schedule`: pairs of an answer's number
and the requests in flight allowed from then on; requests above that get a ThrottlingException.
``GET /figures`` returns what was measured since the last script.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

PROJECT = "parts"
_ANSWER = {
    "DetectAnomalyResult": {
        "Source": {"Type": "direct"},
        "IsAnomalous": False,
        "Confidence": 0.93,
    }
}
_MODEL = {
    "ModelVersion": "1",
    "ModelArn": f"arn:aws:lookoutvision:us-east-1:000000000000:model/{PROJECT}/1",
    "CreationTimestamp": 1_700_000_000.0,
}


class Endpoint:
    """The one model, its script and what was measured.  Times are seconds since the epoch."""

    def __init__(self) -> None:
        self.status = "TRAINED"
        self.script({})

    def script(self, given: dict[str, Any]) -> dict[str, Any]:
        """Set the script, and reset the figures."""
        self.seconds = float(given.get("seconds", 0.2))
        self.schedule = [tuple(pair) for pair in given.get("schedule", [[0, 25]])]
        self.in_flight = self.peak = self.answered = self.throttled = 0
        self.first_at = self.last_at = self.hosted_at = self.stopped_at = 0.0
        return {}

    def figures(self) -> dict[str, Any]:
        """What was measured."""
        return {
            "answered": self.answered,
            "throttled": self.throttled,
            "peak": self.peak,
            "seconds": self.last_at - self.first_at,
            "paid_seconds": self.stopped_at - self.hosted_at,
            "hosted_at": self.hosted_at,
            "first_at": self.first_at,
            "last_at": self.last_at,
            "stopped_at": self.stopped_at,
        }

    @property
    def capacity(self) -> int:
        """Requests in flight that are allowed now."""
        return max(
            (start, capacity) for start, capacity in self.schedule if start <= self.answered
        )[1]

    async def operation(self, method: str, path: str, body: bytes) -> tuple[int, Any]:
        """The status and body of an answer."""
        path = path.partition("?")[0]
        if path == "/script":
            return 200, self.script(json.loads(body))
        if path == "/figures":
            return 200, self.figures()
        if path.endswith("/detect"):
            return await self.detect()
        if path.endswith("/start"):
            self.status, self.hosted_at = "HOSTED", time.time()
            return 202, {"Status": "STARTING_HOSTING"}
        if path.endswith("/stop"):
            self.status, self.stopped_at = "TRAINED", time.time()
            return 202, {"Status": "STOPPING_HOSTING"}
        if path.endswith("/models"):
            return 200, {"Models": [{**_MODEL, "Status": self.status}]}
        if path.endswith("/projects"):
            return 200, {"Projects": [{"ProjectName": PROJECT}]}
        if method == "GET" and "/models/" in path:
            return 200, {"ModelDescription": {**_MODEL, "Status": self.status}}
        return 404, {"Message": f"no {path}"}

    async def detect(self) -> tuple[int, Any]:
        """Answer after the latency, or throttle at once."""
        now = time.time()
        if self.status != "HOSTED":
            return 409, {"Message": "not hosted", "ResourceId": "1", "ResourceType": "MODEL"}
        if self.in_flight >= self.capacity:
            self.throttled += 1
            return 429, {"Message": "too many requests"}
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)
        self.first_at = self.first_at or now
        await asyncio.sleep(self.seconds)
        self.in_flight -= 1
        self.answered += 1
        self.last_at = time.time()
        return 200, _ANSWER


_ERRORS = {
    404: "ResourceNotFoundException",
    409: "ConflictException",
    429: "ThrottlingException",
}


async def serve_connection(
    endpoint: Endpoint, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Answer the requests of one connection, one after the other."""
    number = 0
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            first, *lines = head.decode("latin-1").split("\r\n")
            headers = {
                name.lower(): value.strip()
                for name, _, value in (line.partition(":") for line in lines)
            }
            if headers.get("expect"):
                writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            body = await reader.readexactly(int(headers.get("content-length") or 0))
            method, path, _ = first.split(" ", 2)
            status, answer = await endpoint.operation(method, path, body)
            number += 1
            data = json.dumps(answer).encode()
            error = f"x-amzn-ErrorType: {_ERRORS[status]}\r\n" if status in _ERRORS else ""
            writer.write(
                f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n{error}"
                f"x-amzn-RequestId: {id(writer)}-{number}\r\n"
                f"Content-Length: {len(data)}\r\n\r\n".encode()
                + data
            )
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def main(ready_file: Path) -> None:
    """Serve on a free port of this machine; the URL is in `ready_file`."""
    endpoint = Endpoint()
    server = await asyncio.start_server(
        lambda reader, writer: serve_connection(endpoint, reader, writer),
        "127.0.0.1",
        0,
        backlog=512,
    )
    port = server.sockets[0].getsockname()[1]
    temporary = ready_file.with_suffix(".tmp")
    temporary.write_text(f"http://127.0.0.1:{port}")
    temporary.replace(ready_file)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
