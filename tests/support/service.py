"""A service in a separate process, and common steps of its tests."""

from __future__ import annotations

import atexit
import io
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from botocore.config import Config
from botocore.model import ServiceModel
from PIL import Image, PngImagePlugin

from lfv.client.api import lookoutvision_client, service_model
from tests.support.answers import check_answer
from tests.support.forks import Call, Forked, Forks, forks
from tests.support.waiting import PLENTY, wait_until

ROOT = Path(__file__).parents[2]
FAKE_ENGINE = "tests.support.fake_engine"
BUCKET = "test-bucket"
#: What a service imports, at its start or with its first requests.
_IMPORTED = (
    "lfv.server.__main__",
    "sqlalchemy.dialects.sqlite",
    "uvicorn.loops.auto",
    "uvicorn.protocols.http.auto",
)
FAST = {"scale_interval": 0.05, "scale_up_after": 0.1, "scale_down_after": 0.5}


def is_gone(pid: int) -> bool:
    """Whether a process has ended."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return True
    return state == "Z"


@cache
def _services() -> Forks:
    """Start services of this process, which lasts as long as it does."""
    stack = ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(forks(*_IMPORTED))


@dataclass
class Service:
    folder: Path
    options: dict[str, Any]
    process: Forked | None = None
    clients: list[Any] = field(default_factory=list)

    @property
    def bucket(self) -> Path:
        return self.folder / "bucket"

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def ready_file(self) -> Path:
        return self.folder / "ready.json"

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def launch(self) -> Forked:
        self.bucket.mkdir(parents=True, exist_ok=True)
        self.ready_file.unlink(missing_ok=True)
        options = {
            "home": str(self.home),
            "buckets": {BUCKET: str(self.bucket)},
            "s3": False,
            "engine": FAKE_ENGINE,
            "ready_file": str(self.ready_file),
            "serving": FAST,
            "log_level": "info",
            **self.options,
        }
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "default"}
        call = Call("lfv.server.__main__", [json.dumps(options)], environment, str(self.folder))
        with (self.folder / "log").open("ab") as log, Path(os.devnull).open("rb") as nothing:
            streams = {"stdin": nothing.fileno(), "stdout": log.fileno(), "stderr": log.fileno()}
            self.process = _services().start(call, **streams)
        return self.process

    def start(self) -> Service:
        process = self.launch()
        wait_until(lambda: self.ready_file.exists() or process.poll() is not None, what="ready")
        assert process.poll() is None, self.log
        return self

    def stop(self, signal_number: int = signal.SIGTERM, seconds: float = PLENTY) -> int:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal_number)
        return self.process.wait(seconds)

    def close(self) -> None:
        for client in self.clients:
            client.close()
        self.clients.clear()
        if self.process is not None and self.process.poll() is None:
            try:
                self.stop()
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise

    @property
    def url(self) -> str:
        url: str = json.loads(self.ready_file.read_text())["endpoint_url"]
        return url

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])

    def client(self, model: ServiceModel | None = None, **config: Any) -> Any:
        """A client that checks every answer against the model, and doesn't retry by itself."""
        settings = {
            "retries": {"total_max_attempts": 1},
            "read_timeout": PLENTY,
            "parameter_validation": False,  # the service must refuse invalid requests
            **config,
        }
        client = lookoutvision_client(self.url, config=Config(**settings))
        expected = model or service_model()

        def check(http_response: Any, model: Any, **_: Any) -> None:
            check_answer(
                expected,
                expected.operation_model(model.name),
                http_response.status_code,
                http_response.headers,
                http_response.content,
            )

        client.meta.events.register("after-call.*.*", check)
        self.clients.append(client)
        return client


@contextmanager
def running(folder: Path, **options: Any) -> Iterator[Service]:
    folder.mkdir(parents=True, exist_ok=True)
    service = Service(folder, options)
    try:
        yield service.start()
    finally:
        service.close()


def png(
    *, bright: bool = False, size: tuple[int, int] = (64, 64), order: str = "", mode: str = "RGB"
) -> bytes:
    """An image; ``order`` is for the fake engine."""
    chunk = PngImagePlugin.PngInfo()
    if order:
        chunk.add_text("order", order)
    out = io.BytesIO()
    Image.new(mode, size, "white" if bright else "black").save(out, "PNG", pnginfo=chunk)
    return out.getvalue()


def jpeg(size: tuple[int, int] = (64, 64), *, bright: bool = False) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, "white" if bright else "black").save(out, "JPEG")
    return out.getvalue()


def line(ref: str, label: str | None = "normal", *, mask: str | None = None, **more: Any) -> str:
    """A JSON line of a manifest."""
    document: dict[str, Any] = {"source-ref": ref}
    if label is not None:
        document["anomaly-label"] = int(label == "anomaly")
        document["anomaly-label-metadata"] = {
            "class-name": label,
            "type": "groundtruth/image-classification",
            "human-annotated": "yes",
            "creation-date": "2022-08-22T20:52:51.851Z",
            "job-name": "anomaly-label",
        }
    if mask is not None:
        document["anomaly-mask-ref"] = mask
        document["anomaly-mask-ref-metadata"] = {
            "internal-color-map": {"1": {"class-name": "cracked", "hex-color": "#23A436"}},
            "type": "groundtruth/semantic-segmentation",
            "human-annotated": "yes",
        }
    return json.dumps({**document, **more})


def put_images(service: Service, prefix: str, count: int = 4, *, masks: bool = False) -> list[str]:
    """Write images, normal and anomalous in turn; return their JSON lines."""
    lines = []
    folder = service.bucket / prefix
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        bright = number % 2 == 1
        (folder / f"{number}.png").write_bytes(png(bright=bright))
        mask = None
        if masks and bright:
            (folder / f"{number}.mask.png").write_bytes(png())
            mask = f"s3://{BUCKET}/{prefix}/{number}.mask.png"
        ref = f"s3://{BUCKET}/{prefix}/{number}.png"
        lines.append(line(ref, "anomaly" if bright else "normal", mask=mask))
    return lines


def put_manifest(service: Service, key: str, lines: list[str]) -> dict[str, Any]:
    """Write a manifest; return its DatasetSource."""
    path = service.bucket / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{text}\n" for text in lines))
    return {"GroundTruthManifest": {"S3Object": {"Bucket": BUCKET, "Key": key}}}


def dataset_done(client: Any, project: str, kind: str = "train") -> dict[str, Any]:
    def done() -> dict[str, Any] | None:
        found: dict[str, Any] = client.describe_dataset(ProjectName=project, DatasetType=kind)
        described: dict[str, Any] = found["DatasetDescription"]
        return None if described["Status"].endswith("IN_PROGRESS") else described

    described: dict[str, Any] = wait_until(done, what=f"dataset of {project}")
    return described


def model_in(
    client: Any, project: str, *states: str, version: str = "1", seconds: float = PLENTY
) -> dict[str, Any]:
    """The model's description once it is in one of these states."""

    def there() -> dict[str, Any] | None:
        found: dict[str, Any] = client.describe_model(ProjectName=project, ModelVersion=version)
        described: dict[str, Any] = found["ModelDescription"]
        return described if described["Status"] in states else None

    described: dict[str, Any] = wait_until(
        there, f"{project}/{version} in {states}", seconds=seconds
    )
    return described


def make_dataset(client: Any, service: Service, project: str, lines: list[str], kind: str) -> None:
    source = put_manifest(service, f"{project}/{kind}.manifest", lines)
    client.create_dataset(ProjectName=project, DatasetType=kind, DatasetSource=source)
    described = dataset_done(client, project, kind)
    assert described["Status"] == "CREATE_COMPLETE", described["StatusMessage"]


def make_model(
    client: Any, service: Service, project: str, *, order: str = "images", masks: bool = False
) -> dict[str, Any]:
    """A trained model of a new project; ``order`` is for the fake engine."""
    client.create_project(ProjectName=project)
    lines = put_images(service, f"{project}/{order}", masks=masks)
    make_dataset(client, service, project, lines, "train")
    client.create_model(
        ProjectName=project, OutputConfig={"S3Location": {"Bucket": BUCKET, "Prefix": "out/"}}
    )
    return model_in(client, project, "TRAINED", "TRAINING_FAILED")


def host(client: Any, project: str, low: int = 1, high: int | None = None) -> None:
    more = {} if high is None else {"MaxInferenceUnits": high}
    client.start_model(ProjectName=project, ModelVersion="1", MinInferenceUnits=low, **more)
    described = model_in(client, project, "HOSTED", "HOSTING_FAILED")
    assert described["Status"] == "HOSTED", described["StatusMessage"]


def detect(client: Any, project: str, body: Any, content_type: str = "image/png") -> dict[str, Any]:
    answer: dict[str, Any] = client.detect_anomalies(
        ProjectName=project, ModelVersion="1", Body=body, ContentType=content_type
    )["DetectAnomalyResult"]
    return answer
