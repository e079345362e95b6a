"""An operator's ONNX file: accepted or refused at the start, used, and portable."""

from __future__ import annotations

import io
import json
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from PIL import ImageDraw

from lfv.engine.seam import TrainingError, TrainingOptions
from lfv.formats.training_request import TrainingRequest
from lfv.onnx_files import accepted_file, onnx_digest
from lfv.server import options
from lfv.server.buckets import Buckets
from lfv.server.custom_models import accept_graphs
from lfv.server.database import Database
from lfv.server.errors import OptionsError, ValidationError
from lfv.server.home import Home
from lfv.server.jobs import training_process
from lfv.server.jobs.context import JobContext
from lfv.server.jobs.training_options import options_of_training, store_request
from lfv.server.options import Limits, ServeOptions
from tests.support import onnx_models
from tests.support.pictures import noise
from tests.support.service import (
    BUCKET,
    Service,
    detect,
    host,
    line,
    make_dataset,
    model_in,
    put_images,
)
from tests.support.waiting import PLENTY, TRAINING, wait_until

ENGINE = "lfv.engine"


def picture(path: Path, number: int) -> bytes:
    """A grey plate; every second one has a black spot."""
    image = noise((96, 80), 10 + number % 5, number).convert("RGB")
    ImageDraw.Draw(image).ellipse((20, 15, 76, 65), fill=(150, 140, 130))
    if number % 2:
        ImageDraw.Draw(image).ellipse((30 + number, 30, 38 + number, 38), fill=(5, 5, 5))
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
    return path.read_bytes()


@pytest.fixture
def detector(tmp_path: Path) -> Path:
    path = tmp_path / "detector.onnx"
    path.write_bytes(onnx_models.darkness_detector().SerializeToString())
    return path


def test_a_detector_is_calibrated_hosted_and_moved(
    start: Callable[..., Service], detector: Path, tmp_path: Path
) -> None:
    service = start(engine=ENGINE, detector=str(detector))
    detector.unlink()  # the service has its own copy
    client = service.client()
    client.create_project(ProjectName="plates")
    bodies, lines = [], []
    for number in range(24):
        bodies.append(picture(service.bucket / "plates" / f"{number}.png", number))
        ref = f"s3://{BUCKET}/plates/{number}.png"
        lines.append(line(ref, "anomaly" if number % 2 else "normal"))
    make_dataset(client, service, "plates", lines, "train")
    output = {"S3Location": {"Bucket": BUCKET, "Prefix": "out/"}}
    client.create_model(ProjectName="plates", OutputConfig=output)
    described = model_in(client, "plates", "TRAINED", "TRAINING_FAILED", seconds=TRAINING)
    assert described["Status"] == "TRAINED", described["StatusMessage"]
    assert described["Performance"]["F1Score"] == 1.0
    assert "training images are unknown" in described["StatusMessage"]
    host(client, "plates")
    verdicts = [detect(client, "plates", body) for body in bodies]
    assert [v["IsAnomalous"] for v in verdicts] == [bool(n % 2) for n in range(24)]
    location = {"Bucket": BUCKET, "Prefix": "packages"}
    client.start_model_packaging_job(
        ProjectName="plates",
        ModelVersion="1",
        JobName="job",
        Configuration={
            "Greengrass": {
                "S3OutputLocation": location,
                "ComponentName": "plates",
                "ComponentVersion": "1.0.0",
            }
        },
    )
    archive = service.bucket / "packages" / "plates-1.0.0.zip"
    wait_until(archive.exists)
    home = tmp_path / "other"
    command = [sys.executable, "-c", "from lfv.cli.main import main; main()", "serve"]
    command += ["--home", str(home), "--import", str(archive)]
    with socket.create_server(("127.0.0.1", 0)) as taken:  # ends it once the import is done
        port = str(taken.getsockname()[1])
        done = subprocess.run([*command, "--port", port], capture_output=True, check=False)
    assert b"imported plates/1" in done.stderr
    other = start(engine=ENGINE, home=str(home))
    there = other.client()
    host(there, "plates")
    assert [detect(there, "plates", body) for body in bodies[:4]] == verdicts[:4]


def test_a_refused_onnx_file_ends_the_service_at_its_start(
    start: Callable[..., Service], tmp_path: Path
) -> None:
    path = tmp_path / "graph.onnx"
    path.write_bytes(
        onnx_models.matcher([onnx_models.tile(0)], shape=(1, 5, 64, 64)).SerializeToString()
    )
    service = Service(tmp_path / "service", {"backbone": str(path)})
    process = service.launch()
    assert process.wait(PLENTY) == 2
    assert "is refused: Its input of shape [1, 5, 64, 64]" in service.log
    assert not service.ready_file.exists()
    assert not list((service.home / "graphs").iterdir())


def test_only_accepted_onnx_files_are_kept(detector: Path, tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    try:
        given = ServeOptions(home=home.root, detector=detector)
        (role, copy), *more = accept_graphs(given, home).items()
        assert (role, more) == ("detector", [])
        assert copy.read_bytes() == detector.read_bytes()
        assert accept_graphs(ServeOptions(home=home.root), home) == {}
        assert not copy.exists()
    finally:
        home.close()


def test_a_folder_with_weights_becomes_one_file(detector: Path, tmp_path: Path) -> None:
    """As anomalib 2 exports models."""
    export = tmp_path / "export" / "weights" / "onnx"
    export.mkdir(parents=True)
    onnx.save(
        onnx.load(detector),
        export / "model.onnx",
        save_as_external_data=True,
        location="model.onnx.data",
        size_threshold=0,
    )
    home = Home(tmp_path / "home")
    try:
        accepted = accept_graphs(ServeOptions(home=home.root, detector=tmp_path / "export"), home)
        assert list(home.graphs.iterdir()) == [accepted["detector"]]
        assert accepted["detector"].stem == f"detector-{onnx_digest(tmp_path / 'export')}"
        onnx.checker.check_model(onnx.load(accepted["detector"], load_external_data=False))
    finally:
        home.close()


def test_a_request_overrides_the_options_of_the_service(start: Callable[..., Service]) -> None:
    service = start(miss_cost=3.0, false_alarms=0.1)
    digest = "a" * 64
    graphs = service.home / "graphs"
    graphs.mkdir()
    (graphs / f"backbone-{digest}.onnx").write_bytes(b"accepted before")
    client = service.client()
    client.create_project(ProjectName="plates")
    make_dataset(client, service, "plates", put_images(service, "plates/images"), "train")

    def create(**tags: str) -> dict[str, Any]:
        created: dict[str, Any] = client.create_model(
            ProjectName="plates",
            OutputConfig={"S3Location": {"Bucket": BUCKET, "Prefix": "out/"}},
            Tags=[{"Key": f"lfv:train:{name}", "Value": value} for name, value in tags.items()],
        )["ModelMetadata"]
        return created

    def options(version: str) -> dict[str, str]:
        model_in(client, "plates", "TRAINED", version=version)
        newest = max(
            service.home.glob("models/*/artifact/model.json"), key=lambda f: f.stat().st_mtime_ns
        )
        found: dict[str, str] = json.loads(newest.read_text())["options"]
        return found

    create()
    usual = options("1")
    assert (usual["miss_cost"], usual["false_alarms"]) == ("3.0", "0.1")
    assert (usual["pretrained"], usual["backbone"]) == ("True", "None")
    create(miss_cost="0.5", pretrained="false", backbone=digest)
    asked = options("2")
    assert (asked["miss_cost"], asked["false_alarms"]) == ("0.5", "0.1")
    assert asked["pretrained"] == "False"
    assert asked["backbone"].endswith(f"/job/backbone-{digest}.onnx")
    for wrong, said in (
        ({"miss_cost": "1000"}, "from 0.01 to 100"),
        ({"miss_cost": "nan"}, "must be a number"),
        ({"pretrained": "no"}, "must be true or false"),
        ({"epochs": "3"}, "lfv:train:epochs is not an option of trainings"),
        ({"detector": "../../etc/passwd"}, "must be the SHA-256 of a file"),
        ({"detector": "b" * 64}, "is not at this service"),
        ({"detector": "b" * 64, "backbone": digest}, "not both"),
    ):
        with pytest.raises(client.exceptions.ValidationException, match=said):
            create(**wrong)
    assert len(client.list_models(ProjectName="plates")["Models"]) == 2
    wait_until(lambda: len(list((service.home / "models").iterdir())) == 2)


def test_a_training_keeps_the_file_that_its_request_names(tmp_path: Path) -> None:
    """The service may start again in the meantime, and has another detector of its own."""
    home = Home(tmp_path / "home")
    database = Database(home.database)
    try:
        own = {"detector": tmp_path / "own.onnx"}
        context = JobContext(
            database, Buckets({}, s3=False), home, Limits(), own, {"miss_cost": 3.0}
        )
        home.graphs.mkdir()
        accepted_file(home.graphs, "detector", "c" * 64).write_bytes(b"requested")
        folder = tmp_path / "job"
        folder.mkdir()
        assert options_of_training(context, folder) == {
            "options": {"miss_cost": 3.0},
            "graphs": {"detector": str(own["detector"])},
            "fitted": None,
        }
        store_request(context, TrainingRequest(detector="c" * 64), folder)
        assert accept_graphs(ServeOptions(home=home.root), home) == {}
        chosen = options_of_training(context, folder)
        assert Path(chosen["graphs"]["detector"]).read_bytes() == b"requested"
        assert chosen["options"] == {"miss_cost": 3.0}
    finally:
        database.close()
        home.close()


def test_a_network_overrides_the_detector_of_the_service_and_needs_torch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(tmp_path / "home")
    database = Database(home.database)
    try:
        own = {"detector": tmp_path / "own.onnx"}
        context = JobContext(database, Buckets({}, s3=False), home, Limits(), own)
        folder = tmp_path / "job"
        folder.mkdir()
        monkeypatch.setattr(options, "find_spec", lambda _: None)
        with pytest.raises(ValidationError, match="a network needs PyTorch"):
            store_request(context, TrainingRequest(network=True), folder)
        monkeypatch.setattr(options, "find_spec", lambda _: object())
        store_request(context, TrainingRequest(network=True), folder)
        assert options_of_training(context, folder) == {
            "options": {"network": True},
            "graphs": {},
            "fitted": None,
        }
    finally:
        database.close()
        home.close()


def test_a_network_needs_torch_at_the_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    given = ServeOptions(home=tmp_path, network=True)
    monkeypatch.setattr(options, "find_spec", lambda _: None)
    with pytest.raises(OptionsError, match=r"--network needs PyTorch.*lfv-pipeline\[network\]"):
        given.check()
    monkeypatch.setattr(options, "find_spec", lambda _: object())
    given.check()


def test_the_network_option_reaches_the_training(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The training process passes the service's option to the engine."""
    told: list[TrainingOptions] = []

    class Fake:
        @staticmethod
        def find_damaged(_: Any) -> dict[str, str]:
            return {}

        @staticmethod
        def train(*_: Any, options: TrainingOptions, progress: Any) -> Any:  # noqa: ARG004
            told.append(options)
            raise TrainingError("enough")

    monkeypatch.setattr(training_process, "load_engine", lambda _: Fake)
    job = {"engine": "e", "train": [], "test": [], "output": "o", "graphs": {}}
    for given in ({}, {"network": True}, {"pretrained": False, "miss_cost": 3.0}):
        assert training_process._train({**job, "options": given}, io.BytesIO()) == {
            "failed": "enough"
        }
    assert told == [
        TrainingOptions(),
        TrainingOptions(network=True),
        TrainingOptions(pretrained=False, miss_cost=3.0),
    ]
