"""A scripted stand-in for a Lookout for Vision endpoint: one model, every call recorded.

Runs as a separate process (`main`), so that it survives the processes that a test kills.  Its
answers are a pure function of the image's bytes; failures are scripted through ``POST /script``;
``GET /calls`` returns every call with its time and outcome.

A script is a JSON object; each member replaces the one set before:

    start_seconds, stop_seconds   how long STARTING_HOSTING and STOPPING_HOSTING last
    detect_seconds                how long an answer takes
    slow_after, slow_seconds      after so many more answers each takes so long instead, so that a
    fault has time to happen; slow_after null: never fail                          {operation:
    [answer, ...]}: the next calls of the operation get
                                  these instead, in order: an error's name, "hang" (no answer,
                                  nothing done), "lost" (done, but the answer never arrives),
                                  "late" (no answer, done once the script says "release"),
                                  "overtaken" (somebody else hosts the model just before the call)
    hang_seconds                  how long "hang" lasts
    release                       true: "late" calls take effect now
    hosted                        true: somebody else has hosted the model
    become                        the model's status from now on, whatever set it
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

MODEL_PATH = re.compile(r"/2020-11-20/projects/([^/]+)/models/([^/]+)(/start|/stop|/detect)?$")
PROJECT = "parts"
STATUS = {
    "ValidationException": 400,
    "ServiceQuotaExceededException": 402,
    "AccessDeniedException": 403,
    "ResourceNotFoundException": 404,
    "ConflictException": 409,
    "ThrottlingException": 429,
    "InternalServerException": 500,
}
OPERATIONS = {"": "DescribeModel", "/start": "StartModel", "/stop": "StopModel"}
OPERATIONS["/detect"] = "DetectAnomalies"


@dataclass
class Model:
    """State of the one model, and the script; every access holds `lock`."""

    status: str = "TRAINED"
    changes_at: float = 0.0
    token: str | None = None
    script: dict[str, Any] = field(default_factory=dict)
    changes: list[dict[str, Any]] = field(default_factory=list)
    calls: list[dict[str, Any]] = field(default_factory=list)
    lock: threading.RLock = field(default_factory=threading.RLock)
    released: threading.Event = field(default_factory=threading.Event)

    def settle(self) -> str:
        """The status now: a change in progress may be complete."""
        with self.lock:
            if time.time() >= self.changes_at:
                following = {"STARTING_HOSTING": "HOSTED", "STOPPING_HOSTING": "TRAINED"}
                if self.status in following:
                    self._become(following[self.status], self.changes_at)
            return self.status

    def change(self, status: str, seconds: float) -> None:
        with self.lock:
            self._become(status, time.time())
            self.changes_at = time.time() + seconds
            self.settle()

    def _become(self, status: str, at: float) -> None:
        self.status = status
        self.changes.append({"status": status, "at": at})

    def host_by_other(self) -> None:
        """Somebody else hosts the model."""
        self.change("HOSTED", 0)

    def next_failure(self, operation: str) -> str | None:
        with self.lock:
            answers = self.script.get("fail", {}).get(operation, [])
            return answers.pop(0) if answers else None

    def next_detect_seconds(self) -> float:
        """How long the next answer takes."""
        with self.lock:
            left = self.script.get("slow_after")
            if left == 0:
                return float(self.script["slow_seconds"])
            if left is not None:
                self.script["slow_after"] = left - 1
            return float(self.script.get("detect_seconds", 0.0))

    def record(self, operation: str, outcome: str, **facts: Any) -> None:
        with self.lock:
            self.calls.append(
                {"operation": operation, "at": time.time(), "outcome": outcome, **facts}
            )


class Refused(Exception):
    """An error of the API, by its name."""


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    model: Model

    def log_message(self, *_: Any) -> None:
        """Log nothing: the calls are recorded."""

    def do_GET(self) -> None:
        if self.path == "/calls":
            with self.model.lock:
                status = self.model.settle()
                known = {"calls": self.model.calls, "changes": self.model.changes}
                return self._answer(200, {**known, "status": status})
        if self.path == "/health":
            return self._answer(200, {})
        if self.path.partition("?")[0].endswith("/projects"):
            return self._answer(200, {"Projects": [{"ProjectName": "parts"}]})
        if self.path.partition("?")[0].endswith("/models"):
            summary = {**description("parts", "1"), "Status": self.model.settle()}
            return self._answer(200, {"Models": [summary]})
        return self._operation(b"")

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        if len(body) < length:  # the client was killed while it sent
            self.close_connection = True
            return None
        if self.path == "/script":
            with self.model.lock:
                self.model.script.update(json.loads(body))
                if self.model.script.pop("release", False):
                    self.model.released.set()
                if status := self.model.script.pop("become", None):
                    self.model.change(status, 0.0)
                if self.model.script.pop("hosted", False):
                    self.model.host_by_other()
            return self._answer(200, {})
        return self._operation(body)

    def _operation(self, body: bytes) -> None:
        match = MODEL_PATH.search(self.path)
        if match is None:
            return self._answer(404, {"Message": "no such path"}, "ResourceNotFoundException")
        project, version, verb = match[1], match[2], match[3] or ""
        if project != PROJECT:
            name = "ResourceNotFoundException"
            return self._answer(404, error_body(name) | {"Message": f"no project {project}"}, name)
        operation = OPERATIONS[verb]
        facts = {"sha256": hashlib.sha256(body).hexdigest()} if verb == "/detect" else {}

        def act() -> dict[str, Any]:
            answer: dict[str, Any] = getattr(self, f"_{operation}")(project, version, body)
            return answer

        return self._perform(operation, act, facts, 200 if verb in {"", "/detect"} else 202)

    def _perform(
        self,
        operation: str,
        act: Callable[[], dict[str, Any]],
        facts: dict[str, Any],
        status: int = 200,
    ) -> None:
        """Follow the script for this call, or else `act`, and answer."""
        scripted = self.model.next_failure(operation)
        if scripted == "hang":
            self.model.record(operation, "hang", **facts)
            time.sleep(self.model.script.get("hang_seconds", 3.0))
            self.close_connection = True
            return
        if scripted == "late":
            self.model.record(operation, "late", **facts)
            threading.Thread(target=self._do_late, args=(act,), daemon=True).start()
            self.close_connection = True
            return
        if scripted == "overtaken":
            self.model.host_by_other()
        if scripted in STATUS:
            self.model.record(operation, scripted, **facts)
            self._refuse(scripted, operation)
            return
        try:
            answer = act()
        except Refused as refused:
            self.model.record(operation, str(refused), **facts)
            self._refuse_for(refused, operation)
            return
        self.model.record(operation, "ok", **facts)
        if scripted == "lost":
            time.sleep(self.model.script.get("hang_seconds", 3.0))
            self.close_connection = True
            return
        self._answer(status, answer)

    def _refuse_for(self, refused: Refused, operation: str) -> None:
        self._refuse(str(refused), operation)

    def _refuse(self, name: str, operation: str) -> None:  # noqa: ARG002 - for other protocols
        self._answer(STATUS[name], error_body(name), name)

    def _do_late(self, act: Callable[[], dict[str, Any]]) -> None:
        self.model.released.wait()
        with suppress(Refused):
            act()

    def _DescribeModel(self, project: str, version: str, _: bytes) -> dict[str, Any]:  # noqa: N802
        return {
            "ModelDescription": {**description(project, version), "Status": self.model.settle()}
        }

    def _StartModel(self, _: str, __: str, ___: bytes) -> dict[str, Any]:  # noqa: N802
        token = self.headers.get("X-Amzn-Client-Token")
        with self.model.lock:
            status = self.model.settle()
            if status != "TRAINED":
                if token is not None and token == self.model.token and status != "STOPPING_HOSTING":
                    return {"Status": "STARTING_HOSTING"}
                raise Refused("ConflictException")
            self.model.token = token
            self.model.change("STARTING_HOSTING", self.model.script.get("start_seconds", 0.0))
        return {"Status": "STARTING_HOSTING"}

    def _StopModel(self, _: str, __: str, ___: bytes) -> dict[str, Any]:  # noqa: N802
        with self.model.lock:
            if self.model.settle() not in {"HOSTED", "STARTING_HOSTING"}:
                raise Refused("ConflictException")
            self.model.change("STOPPING_HOSTING", self.model.script.get("stop_seconds", 0.0))
        return {"Status": "STOPPING_HOSTING"}

    def _DetectAnomalies(self, _: str, __: str, body: bytes) -> dict[str, Any]:  # noqa: N802
        if self.model.settle() != "HOSTED":
            raise Refused("ConflictException")
        if not is_image(body):
            raise Refused("ValidationException")
        time.sleep(self.model.next_detect_seconds())
        return {"DetectAnomalyResult": result_of(body)}

    def _answer(self, status: int, body: dict[str, Any], error: str | None = None) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.send_header("x-amzn-RequestId", f"standin-{time.time_ns()}")
        if error:
            self.send_header("x-amzn-ErrorType", error)
        self.end_headers()
        self.wfile.write(data)


def is_image(body: bytes) -> bool:
    """Whether `body` looks like a whole PNG or JPEG."""
    png = body.startswith(b"\x89PNG") and body.rstrip(b"\n").endswith(b"IEND\xaeB`\x82")
    return png or (body.startswith(b"\xff\xd8") and body.endswith(b"\xff\xd9"))


def result_of(body: bytes) -> dict[str, Any]:
    """The answer for an image, determined by its bytes."""
    digest = hashlib.sha256(body).digest()
    return {
        "Source": {"Type": "direct"},
        "IsAnomalous": digest[0] % 4 == 0,
        "Confidence": round(0.5 + digest[1] / 512, 4),
    }


def description(project: str, version: str) -> dict[str, Any]:
    return {
        "ModelVersion": version,
        "ModelArn": f"arn:aws:lookoutvision:us-east-1:000000000000:model/{project}/{version}",
        "CreationTimestamp": 1_700_000_000.0,
    }


def error_body(name: str) -> dict[str, Any]:
    body = {"Message": f"scripted {name}"}
    if name in {"ConflictException", "ResourceNotFoundException"}:
        body |= {"ResourceId": "parts/1", "ResourceType": "MODEL"}
    return body


class Server(ThreadingHTTPServer):
    """One thread per connection; ignores killed clients."""

    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *_: Any) -> None:
        """Log nothing when a killed client breaks its connection."""


def serve(model: Model, port: int = 0) -> Server:
    """A server of `model` on a free port of this machine; the caller runs it."""
    return Server(("127.0.0.1", port), type("BoundHandler", (Handler,), {"model": model}))


def main(ready_file: str, serve: Callable[[], Server] = lambda: serve(Model())) -> None:
    """Serve in a separate process; write the address to `ready_file`."""
    server = serve()
    ready = Path(ready_file)
    temporary = ready.with_suffix(".tmp")
    temporary.write_text(f"http://127.0.0.1:{server.server_address[1]}")
    temporary.replace(ready)
    server.serve_forever()
