"""Our edge agent, called through protoc's code for the .proto and through our own host."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import grpc
import pytest
from PIL import Image, ImageDraw

from lfv.client.hosting import ensure_hosted, ensure_stopped
from lfv.client.hosts import HostSpec, Units, open_host
from lfv.engine import Predictor, TrainingImage, train
from lfv.formats.status import ModelStatus
from lfv.server.edge_agent import Component, EdgeAgent, agent_server, open_components
from lfv.server.errors import ArchiveError, OptionsError
from tests.support.edge_stubs import pb, pb_grpc
from tests.support.pictures import noise
from tests.support.service import FAKE_ENGINE
from tests.support.waiting import PLENTY, wait_until

SIZE = (64, 64)
BRIGHT = b"\xff" * (64 * 64 * 3)
DARK = bytes(64 * 64 * 3)
SHARED = Path("/dev/shm")  # noqa: S108


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    """A model of the fake engine, for which bright images are anomalous with a crack."""
    folder = tmp_path / "artifact"
    folder.mkdir()
    document = {"size": SIZE, "types": [["cracked", "#23A436"]], "refs": []}
    (folder / "model.json").write_text(json.dumps(document))
    return folder


@pytest.fixture
def address(tmp_path: Path, artifact: Path) -> Iterator[str]:
    agent = EdgeAgent([Component("plates", "arn:x:model/plates/3", artifact, FAKE_ENGINE, 2)])
    with agent_server(agent, f"unix://{tmp_path}/agent.sock", threads=6) as address:
        yield address
    assert not (tmp_path / "agent.sock").exists()


@pytest.fixture
def client(address: str) -> Iterator[Any]:
    with grpc.insecure_channel(address) as channel:
        yield pb_grpc.EdgeAgentStub(channel)


@pytest.fixture
def memory() -> Iterator[Callable[[bytes], str]]:
    """Put bytes into shared memory; return its name."""
    made: list[Path] = []

    def make(content: bytes) -> str:
        path = SHARED / f"lfv-test-{os.getpid()}-{len(made)}"
        path.write_bytes(content)
        made.append(path)
        return path.name

    yield make
    for path in made:
        path.unlink()


def detect(client: Any, *, component: str = "plates", **bitmap: Any) -> Any:
    given = {"width": 64, "height": 64, **bitmap}
    request = pb.DetectAnomaliesRequest(model_component=component, bitmap=pb.Bitmap(**given))
    return client.DetectAnomalies(request).detect_anomaly_result


def start(client: Any) -> None:
    client.StartModel(pb.StartModelRequest(model_component="plates"))


def code_of(call: Callable[[], Any]) -> grpc.StatusCode:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    code: grpc.StatusCode = caught.value.code()
    return code


def test_a_model_is_described_started_used_and_stopped(client: Any) -> None:
    (listed,) = client.ListModels(pb.ListModelsRequest()).models
    assert (listed.model_component, listed.status) == ("plates", pb.STOPPED)
    request = pb.StartModelRequest(model_component="plates")
    assert client.StartModel(request).status == pb.RUNNING
    described = client.DescribeModel(pb.DescribeModelRequest(model_component="plates"))
    assert described.model_description.lookout_vision_model_arn == "arn:x:model/plates/3"
    bright = detect(client, byte_data=BRIGHT)
    assert (bright.is_anomalous, bright.confidence) == (True, 0.75)
    assert [one.name for one in bright.anomalies] == ["background", "cracked"]
    assert bright.anomalies[1].pixel_anomaly.hex_color == "#23A436"
    assert len(bright.anomaly_mask.byte_data) == len(BRIGHT)
    assert not detect(client, byte_data=DARK).is_anomalous
    stopping = pb.StopModelRequest(model_component="plates")
    assert client.StopModel(stopping).status == pb.STOPPED


def test_a_call_in_the_wrong_state_is_a_failed_precondition(client: Any) -> None:
    wrong = grpc.StatusCode.FAILED_PRECONDITION
    assert code_of(lambda: detect(client, byte_data=DARK)) is wrong
    stopping = pb.StopModelRequest(model_component="plates")
    assert code_of(lambda: client.StopModel(stopping)) is wrong
    start(client)
    assert code_of(lambda: start(client)) is wrong


def test_an_unknown_component_is_not_found(client: Any) -> None:
    unknown = pb.DescribeModelRequest(model_component="x")
    assert code_of(lambda: client.DescribeModel(unknown)) is grpc.StatusCode.NOT_FOUND
    assert (
        code_of(lambda: detect(client, component="x", byte_data=DARK)) is grpc.StatusCode.NOT_FOUND
    )


@pytest.mark.parametrize("handle_of", ["shared_memory_handle", "shared_memory_handle_of_samples"])
def test_pixels_and_masks_go_through_shared_memory(
    client: Any, memory: Callable[[bytes], str], handle_of: str
) -> None:
    start(client)
    source = pb.SharedMemoryHandle(name=memory(b"head" + BRIGHT), size=len(BRIGHT), offset=4)
    target = pb.SharedMemoryHandle(name=memory(bytes(len(BRIGHT) + 8)), size=len(BRIGHT), offset=8)
    request = pb.DetectAnomaliesRequest(
        model_component="plates",
        bitmap=pb.Bitmap(width=64, height=64, shared_memory_handle=source),
        anomaly_mask_params=pb.AnomalyMaskParams(**{handle_of: target}),
    )
    result = client.DetectAnomalies(request).detect_anomaly_result
    assert result.is_anomalous
    assert result.anomaly_mask.byte_data == b""
    assert result.anomaly_mask.shared_memory_handle.name == target.name
    assert (SHARED / target.name).read_bytes() == bytes(8) + b"\xff" * len(BRIGHT)


@pytest.mark.parametrize(
    "bitmap",
    [
        {"byte_data": b"too few"},
        {"width": 63, "byte_data": DARK},
        {"width": 4097, "byte_data": DARK},
        {"width": -1, "byte_data": DARK},
        {"width": 65, "byte_data": bytes(65 * 64 * 3)},
        {},
        {"shared_memory_handle": pb.SharedMemoryHandle(name="lfv-none", size=12288)},
        {"shared_memory_handle": pb.SharedMemoryHandle(name="../etc/passwd", size=12288)},
        {"shared_memory_handle": pb.SharedMemoryHandle(name="..", size=12288)},
        {"shared_memory_handle": pb.SharedMemoryHandle(name="", size=12288)},
        {"shared_memory_handle": pb.SharedMemoryHandle(name="x", size=5)},
    ],
)
def test_an_unusable_image_is_an_invalid_argument(client: Any, bitmap: dict[str, Any]) -> None:
    start(client)
    assert code_of(lambda: detect(client, **bitmap)) is grpc.StatusCode.INVALID_ARGUMENT
    assert not detect(client, byte_data=DARK).is_anomalous  # the agent continues


def test_too_small_shared_memory_is_an_invalid_argument(
    client: Any, memory: Callable[[bytes], str]
) -> None:
    start(client)
    short = pb.SharedMemoryHandle(name=memory(b"short"), size=len(DARK))
    invalid = grpc.StatusCode.INVALID_ARGUMENT
    assert code_of(lambda: detect(client, shared_memory_handle=short)) is invalid
    beyond = pb.SharedMemoryHandle(name=memory(DARK), size=len(DARK), offset=2**64 - 1)
    assert code_of(lambda: detect(client, shared_memory_handle=beyond)) is invalid
    request = pb.DetectAnomaliesRequest(
        model_component="plates",
        bitmap=pb.Bitmap(width=64, height=64, byte_data=BRIGHT),
        anomaly_mask_params=pb.AnomalyMaskParams(shared_memory_handle=short),
    )
    assert code_of(lambda: client.DetectAnomalies(request)) is invalid


def test_bytes_that_are_not_a_message_are_an_invalid_argument(address: str) -> None:
    with grpc.insecure_channel(address) as channel:
        call = channel.unary_unary("/AWS.LookoutVision.EdgeAgent/DetectAnomalies")
        assert code_of(lambda: call(b"\xff\xff")) is grpc.StatusCode.INVALID_ARGUMENT


def test_the_service_name_of_the_first_release_works(address: str) -> None:
    with grpc.insecure_channel(address) as channel:
        call = channel.unary_unary("/AWS.LookoutVision.InferenceServer/ListModels")
        assert len(pb.ListModelsResponse.FromString(call(b"")).models) == 1


def test_a_damaged_model_has_the_status_failed(tmp_path: Path, artifact: Path) -> None:
    (artifact / "model.json").write_text("{")
    agent = EdgeAgent([Component("plates", "arn", artifact, FAKE_ENGINE, 1)])
    with (
        agent_server(agent, "tcp://127.0.0.1:0", threads=2) as address,
        grpc.insecure_channel(address.removeprefix("tcp://")) as channel,
    ):
        client = pb_grpc.EdgeAgentStub(channel)
        assert code_of(lambda: start(client)) is grpc.StatusCode.INTERNAL
        (listed,) = client.ListModels(pb.ListModelsRequest()).models
        assert listed.status == pb.FAILED
        assert listed.status_message
    with pytest.raises(OptionsError, match="cannot be started"):
        agent.start_all()


@pytest.mark.parametrize("shared_memory", [False, True])
def test_our_own_host_works_with_it(address: str, shared_memory: bool) -> None:
    spec = HostSpec("edge", "plates", "3", address, None, {"shared_memory": shared_memory})
    host = open_host(spec)
    assert host.describe().status is ModelStatus.TRAINED
    assert ensure_hosted(host, Units(1), "t", timeout=PLENTY).started
    out = io.BytesIO()
    Image.new("RGB", SIZE, "white").save(out, "PNG")
    result = host.detect(out.getvalue(), "image/png").result
    assert (result.is_anomalous, result.confidence) == (True, 0.75)
    assert result.anomaly_mask is not None
    assert ensure_stopped(host, "t", timeout=PLENTY).was_up
    host.close()


def test_a_socket_in_use_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "agent.sock"
    agent = EdgeAgent([])
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        with (
            pytest.raises(OptionsError, match="another program"),
            agent_server(agent, f"unix://{path}", threads=1),
        ):
            pass
    with agent_server(agent, f"unix://{path}", threads=1):  # the socket file of a killed agent
        pass
    (tmp_path / "file").write_text("x")
    with (
        pytest.raises(OptionsError, match="not a socket"),
        agent_server(agent, f"unix://{tmp_path}/file", threads=1),
    ):
        pass
    with (
        pytest.raises(OptionsError, match="unix-abstract"),
        agent_server(agent, "http://x", threads=1),
    ):
        pass
    for free in ("tcp://127.0.0.1:0", f"unix-abstract:{tmp_path.name}-{os.getpid()}"):
        with (
            agent_server(agent, free, threads=1) as taken,
            pytest.raises(OptionsError, match="cannot listen on"),
            agent_server(agent, taken, threads=1),
        ):
            pass


# -- with the engine, as a command --


def plate(number: int, *, scratched: bool) -> Image.Image:
    image = noise((96, 80), 12, number).convert("RGB")
    draw = ImageDraw.Draw(image)
    draw.ellipse((20, 15, 76, 65), fill=(150, 120, 90))
    if scratched:
        x, y = 28 + number, 25 + number
        draw.line((x, y, x + 16, y + 9), fill=(20, 20, 30), width=4)
    return image


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A packaged model of plates."""
    folder = tmp_path_factory.mktemp("plates")
    images = []
    for number in range(20):
        path = folder / f"{number}.png"
        plate(number, scratched=number % 2 == 1).save(path)
        images.append(TrainingImage(f"{number}.png", path, number % 2 == 1, None, {}))
    artifact = folder / "artifact"
    train(images, images[:4], artifact, progress=lambda *_: None)
    files = {
        path.relative_to(artifact).as_posix(): path.read_bytes()
        for path in artifact.rglob("*")
        if path.is_file()
    }
    description = {
        "format": 1,
        "project": "plates",
        "version": 3,
        "performance": {"f1": None, "precision": None, "recall": None},
        "files": {
            name: {"sha256": sha256(body).hexdigest(), "bytes": len(body)}
            for name, body in files.items()
        },
    }
    target = folder / "plates-3.0.0.zip"
    with zipfile.ZipFile(target, "w") as packed:
        packed.writestr("lfv-model.json", json.dumps(description))
        for name, body in files.items():
            packed.writestr(f"artifact/{name}", body)
    return target


def test_the_command_answers_as_the_engine_does(archive: Path, tmp_path: Path) -> None:
    address = f"unix://{tmp_path}/agent.sock"
    command = [str(Path(sys.executable).with_name("lfv")), "edge-agent", str(archive)]
    process = subprocess.Popen(
        [*command, "--listen", address, "--start", "--workers", "1"], stderr=subprocess.PIPE
    )
    try:
        wait_until((tmp_path / "agent.sock").exists)
        host = open_host(HostSpec("edge", "plates", "3", address))
        predictor = Predictor.load(archive.parent / "artifact")
        for scratched in (False, True):
            image = plate(7, scratched=scratched)
            out = io.BytesIO()
            image.save(out, "PNG")
            expected = predictor.predict(out.getvalue())
            found = host.detect(out.getvalue(), "image/png").result
            assert found.is_anomalous == expected.is_anomalous
            assert found.confidence == pytest.approx(expected.confidence, abs=1e-6)
        host.close()
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=PLENTY)
        assert process.returncode == 0, errors
        assert not (tmp_path / "agent.sock").exists()
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


def test_unusable_archives_are_refused(archive: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionsError, match="two archives"):
        open_components([archive, archive], tmp_path, 1)
    damaged = tmp_path / "damaged.zip"
    damaged.write_bytes(archive.read_bytes()[:200])
    with pytest.raises(ArchiveError):
        open_components([damaged], tmp_path / "other", 1)
