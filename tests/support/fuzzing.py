"""Valid, nearly valid and invalid requests, and damaged images."""

from __future__ import annotations

import base64
import http.client
import io
import json
import random
import struct
import time
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from botocore.model import OperationModel, Shape
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from lfv.client.api import service_model
from tests.support.answers import check_answer
from tests.support.pictures import noise
from tests.support.service import BUCKET, Service, line, png

MODEL = service_model()
SLOWEST_SECONDS = 30.0


@dataclass(frozen=True)
class Sent:
    operation: OperationModel | None
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Tally:
    statuses: Counter[int] = field(default_factory=Counter)
    operations: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0

    @property
    def requests(self) -> int:
        return sum(self.statuses.values())


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)
_TEXT = st.text(max_size=40) | st.sampled_from(
    ["", " ", "../..", "a" * 300, "latest", "0", "-1", "1e9", "%00", "\0", "é", "\U0001f36a", "\n"]
)
_LINES = st.lists(
    st.sampled_from(
        [
            line(f"s3://{BUCKET}/x.png"),
            line(f"s3://{BUCKET}/y.png", "anomaly", mask=f"s3://{BUCKET}/m.png"),
            line("x.png"),
            line("s3://elsewhere/x.png", None),
            "{",
            "[" * 500,
            "",
            '{"source-ref": 1}',
            '{"source-ref": "s3://a/b", "x-metadata": {"class-name": []}, "x": 1}',
            line(f"s3://{BUCKET}/x.png")[:-1] + f', "deep": {"[" * 600}{"]" * 600}}}',
            line(f"s3://{BUCKET}/x.png")[:-1] + f', "long": [{"1e15," * 999}0]}}',
            "\ufeff\u0000",
        ]
    ),
    max_size=5,
).map(lambda texts: "\n".join(texts).encode())


def names(projects: list[str]) -> dict[str, st.SearchStrategy[Any]]:
    """Meaningful values, by shape."""
    there = st.sampled_from(projects)
    other = st.sampled_from(["a", "b"]) | st.from_regex(r"[a-zA-Z0-9][a-z\-_]{0,9}", fullmatch=True)
    project = there | there | there | other
    arn = "arn:aws:lookoutvision:us-east-1:000000000000:model"
    return {
        "ProjectName": project,
        "DatasetType": st.sampled_from(["train", "test", "train", "x"]),
        "ModelVersion": st.sampled_from(["1", "1", "latest", "2", "1000000000"]),
        "ModelVersionNoLatest": st.sampled_from(["1", "2", "0"]),
        "ModelPackagingJobName": st.sampled_from(["a", "b", "c"]),
        "TagArn": project.map(lambda name: f"{arn}/{name}/1"),
        "S3BucketName": st.sampled_from([BUCKET, "elsewhere", "ab", "..."]),
        "S3ObjectKey": st.sampled_from(["m.manifest", "missing", "a/../b", "folder", "."]),
        "InferenceUnits": st.sampled_from([1, 1, 1, 2, 4, 2**31 - 1, 0, -1]),
        "PageSize": st.sampled_from([1, 2, 100, 0, 101]),
        "DatasetChanges": _LINES | st.binary(max_size=100),
        "ClientToken": st.sampled_from(["t1", "t2", "t3"]) | st.uuids().map(str),
        "DateTime": st.sampled_from(["2020-01-01T00:00:00Z", "1e300", "nan", "0", "tomorrow", -5]),
    }


def value_of(shape: Shape, known: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[Any]:
    """Mostly good values of a shape, sometimes others."""
    good: st.SearchStrategy[Any]
    if shape.name in known:
        good = known[shape.name]
    elif shape.type_name == "structure":
        good = members_of(shape, known)
    elif shape.type_name == "list":
        good = st.lists(value_of(shape.member, known), max_size=4)
    elif enum := getattr(shape, "enum", None):
        good = st.sampled_from(enum)
    elif shape.type_name == "integer":
        good = st.integers(-2, 200)
    elif shape.type_name == "boolean":
        good = st.booleans()
    elif shape.type_name == "blob":
        good = st.binary(max_size=50)
    else:
        good = st.from_regex(r"[a-zA-Z0-9.]{1,12}", fullmatch=True)
    return st.integers(0, 29).flatmap(lambda n: _TEXT if n == 0 else _JSON if n == 1 else good)


def members_of(shape: Any, known: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[Any]:
    required = {name: value_of(shape.members[name], known) for name in shape.required_members}
    other = {
        name: value_of(member, known)
        for name, member in shape.members.items()
        if name not in required
    }
    whole = st.fixed_dictionaries(required, optional=other)
    partial = st.fixed_dictionaries({}, optional={**required, **other})
    return st.integers(0, 9).flatmap(lambda n: partial if n == 0 else whole)


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, list) else value


def _line_safe(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(_plain(value))
    return "".join(c for c in text if c.isprintable() and ord(c) < 256)


def serialized(operation: OperationModel, members: dict[str, Any]) -> Sent:
    """Encode a request like an SDK, but without its checks."""
    path, query, headers, body = operation.http["requestUri"], [], {}, {}
    payload = b""
    shape: Any = operation.input_shape
    for name, member in shape.members.items():
        where = member.serialization.get("location")
        wire = member.serialization.get("name", name)
        value = members.get(name)
        if name == shape.serialization.get("payload"):
            payload = value if isinstance(value, bytes) else b""
        elif where == "uri":
            text = "" if value is None else value if isinstance(value, str) else json.dumps(value)
            path = path.replace(f"{{{wire}}}", quote(text.encode("utf-8", "replace"), safe=""))
        elif value is None:
            continue
        elif where == "header":
            headers[wire] = _line_safe(value)
        elif where == "querystring":
            for item in value if isinstance(value, list) else [value]:
                text = item if isinstance(item, str) else json.dumps(_plain(item))
                query.append(f"{wire}={quote(text.encode('utf-8', 'replace'), safe='')}")
        else:
            body[wire] = _plain(value)
    if body and not payload:
        payload = json.dumps(body, ensure_ascii=True).encode()
    target = f"{path}?{'&'.join(query)}" if query else path
    return Sent(operation, operation.http["method"], target, headers, payload)


def modelled(projects: list[str], operations: list[str]) -> st.SearchStrategy[Sent]:
    known = names(projects)

    def of(name: str) -> st.SearchStrategy[Sent]:
        operation = MODEL.operation_model(name)
        shape: Any = operation.input_shape
        return members_of(shape, known).map(lambda members: serialized(operation, members))

    return st.sampled_from(operations).flatmap(of)


def senseless() -> st.SearchStrategy[Sent]:
    """No operation, or one with a body of any bytes."""
    paths = st.sampled_from(
        [op.http["requestUri"] for op in map(MODEL.operation_model, MODEL.operation_names)]
    ) | st.text(max_size=30).map(lambda text: "/" + quote(text))
    return st.builds(
        Sent,
        st.none(),
        st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]),
        paths.map(lambda path: quote(path, safe="/?&=%")),
        st.dictionaries(
            st.sampled_from(["Content-Encoding", "X-Amzn-Client-Token", "Authorization", "Range"]),
            st.text(max_size=20).map(_line_safe),
            max_size=2,
        ),
        st.binary(max_size=200) | _JSON.map(lambda value: json.dumps(value).encode()),
    )


def damaged(good: bytes, chance: random.Random) -> bytes:
    """An image with something wrong in it, or nothing."""
    body = bytearray(good)
    how = chance.randrange(9)
    if how == 0:
        return bytes(body[: chance.randrange(len(body))])
    if how == 1:
        for _ in range(chance.randrange(1, 30)):
            body[chance.randrange(len(body))] = chance.randrange(256)
    elif how == 2:
        at = chance.randrange(len(body))
        body[at:at] = chance.randbytes(chance.randrange(1, 200))
    elif how == 3:
        at = chance.randrange(len(body))
        del body[at : at + chance.randrange(1, 100)]
    elif how == 4:
        return bytes(body) + chance.randbytes(1000)
    elif how == 5:
        return with_dimensions(bytes(body), (chance.choice([0, 1, 64, 65535, 2**31 - 1]),) * 2)
    elif how == 6:
        return chance.randbytes(chance.randrange(0, 500))
    elif how == 7:
        return with_chunk(bytes(body), b"zTXt", b"a\0\0" + zlib.compress(b"\0" * 5_000_000))
    return bytes(body)


def with_dimensions(image: bytes, size: tuple[int, int]) -> bytes:
    if not image.startswith(b"\x89PNG"):
        return image
    header = struct.pack("!II", *size) + image[24:29]
    checksum = struct.pack("!I", zlib.crc32(b"IHDR" + header))
    return image[:16] + header + checksum + image[33:]


def with_chunk(image: bytes, name: bytes, data: bytes) -> bytes:
    if not image.startswith(b"\x89PNG"):
        return image
    chunk = struct.pack("!I", len(data)) + name + data + struct.pack("!I", zlib.crc32(name + data))
    return image[:33] + chunk + image[33:]


def images(size: tuple[int, int]) -> list[bytes]:
    """Good images of many kinds."""
    grey = noise(size, 60)
    out = [png(size=size), png(size=size, bright=True)]
    for mode, kind in (
        ("L", "PNG"), ("RGB", "PNG"), ("RGBA", "PNG"), ("P", "PNG"), ("1", "PNG"), ("I;16", "PNG"),
        ("LA", "PNG"), ("L", "JPEG"), ("RGB", "JPEG"), ("CMYK", "JPEG"),
    ):  # fmt: skip
        buffer = io.BytesIO()
        picture = grey if mode != "I;16" else grey.convert("I")
        picture.convert(mode).save(buffer, kind)
        out.append(buffer.getvalue())
    return out


def detections(project: str, size: tuple[int, int]) -> st.SearchStrategy[Sent]:
    good = images(size)
    operation = MODEL.operation_model("DetectAnomalies")

    def of(number: int) -> Sent:
        chance = random.Random(number)
        image = chance.choice(good)
        kind = "image/png" if image.startswith(b"\x89PNG") else "image/jpeg"
        if chance.random() < 0.05:
            kind = chance.choice(["image/gif", "IMAGE/PNG", "image/jpeg", "x", ""])
        path = f"/2020-11-20/projects/{project}/models/1/detect"
        return Sent(operation, "POST", path, {"Content-Type": kind}, damaged(image, chance))

    return st.integers(0, 2**32).map(of)


class Sender:
    """Sends requests over one connection and checks each response."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._connection: http.client.HTTPConnection | None = None
        self.tally = Tally()

    def send(self, sent: Sent) -> None:
        if self._connection is None:
            self._connection = http.client.HTTPConnection(
                "127.0.0.1", self._service.port, timeout=SLOWEST_SECONDS
            )
        began = time.monotonic()
        try:
            self._connection.request(sent.method, sent.path, sent.body, sent.headers)
            answer = self._connection.getresponse()
            body = answer.read()
        except BaseException:
            self.close()
            raise
        self.tally.slowest = max(self.tally.slowest, time.monotonic() - began)
        self.tally.statuses[answer.status] += 1
        assert answer.status < 500, (sent, body)
        if answer.status == 404 and answer.headers["x-amzn-errortype"].startswith("UnknownOp"):
            return
        if sent.operation is not None:
            self.tally.operations[sent.operation.name] += 1
            check_answer(MODEL, sent.operation, answer.status, answer.headers, body)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def fuzz(
    service: Service,
    requests: int,
    *,
    hosted: str,
    size: tuple[int, int],
    projects: list[str],
    number: int | None = None,
    told: Callable[[int], None] = lambda _: None,
) -> Tally:
    """Send that many requests; ``number`` seeds them. Nothing stops or deletes ``hosted``."""
    others = sorted(set(MODEL.operation_names) - {"DetectAnomalies"})
    anything = (
        modelled(projects, others)
        | modelled(projects, others)
        | modelled(projects, others)
        | modelled(projects, ["DetectAnomalies", "UpdateDatasetEntries"])
        | detections(hosted, size)
        | senseless()
    )
    sender = Sender(service)

    @settings(
        max_examples=requests,
        deadline=None,
        database=None,
        derandomize=number is None,
        suppress_health_check=list(HealthCheck),
    )
    @given(anything)
    def send(sent: Sent) -> None:
        sender.send(sent)
        told(sender.tally.requests)

    try:
        (send if number is None else seed(number)(send))()
    finally:
        sender.close()
    return sender.tally


def resources(pid: int) -> dict[str, int]:
    """Memory in KiB, open files and threads of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    fields = dict(text.split(":", 1) for text in status.splitlines() if ":" in text)
    return {
        "rss": int(fields["VmRSS"].split()[0]),
        "files": len(list(Path(f"/proc/{pid}/fd").iterdir())),
        "threads": int(fields["Threads"]),
    }
