"""`lfv train` with the embedded service, as a user runs it."""

from __future__ import annotations

import fcntl
import json
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from lfv.cli.demo_images import DemoSet, make_demo_set
from lfv.client.api import lookoutvision_client
from lfv.formats.training_request import NAMES, TrainingRequest
from lfv.onnx_files import onnx_digest
from lfv.run.embedded_service import ServicePlaces, embedded_service, ends_with_us, service_user
from lfv.run.errors import ServiceNotStarted
from lfv.run.models.training_settings import training_request
from lfv.settings import LfvSettingsError, get_settings
from tests.support import onnx_models

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Lfv


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> DemoSet:
    return make_demo_set(tmp_path_factory.mktemp("images"), train=12, inspect=2)


def test_a_failed_training_reports_the_reason(
    lfv_process: Lfv, images: DemoSet, tmp_path: Path
) -> None:
    rows = images.train_manifest.read_text().splitlines()
    few = images.train_manifest.with_name("few.manifest")
    few.write_text("\n".join(rows[:6]))
    outcome = lfv_process("train", few, "--project", "flange")
    assert outcome.status == 1
    assert outcome.out == ""
    assert "at least" in outcome.err.splitlines()[-1]


def test_rows_that_cannot_be_trained_on_are_named(lfv_process: Lfv, tmp_path: Path) -> None:
    manifest = tmp_path / "bad.manifest"
    manifest.write_text(json.dumps({"source-ref": "missing.jpg", "anomaly-label": 1}) + "\n")
    outcome = lfv_process("train", manifest, "--project", "flange", "--json")
    assert outcome.status == 1
    assert "line 1" in outcome.err
    assert outcome.err.count("\n") == 1


def test_a_manifest_that_does_not_exist(lfv_process: Lfv, tmp_path: Path) -> None:
    outcome = lfv_process("train", tmp_path / "no.manifest", "--project", "flange", "--json")
    assert outcome.status == 1
    assert str(tmp_path / "no.manifest") in outcome.err


def test_an_endpoint_needs_a_place_for_the_images(lfv_process: Lfv, images: DemoSet) -> None:
    outcome = lfv_process(
        *("train", images.train_manifest, "--project", "flange"),
        *("--endpoint-url", "http://127.0.0.1:9"),
    )
    assert outcome.status == 2
    assert "--staging s3://BUCKET/PREFIX" in outcome.err


def test_an_onnx_file_needs_the_embedded_service(
    lfv_process: Lfv, images: DemoSet, tmp_path: Path
) -> None:
    graph = tmp_path / "graph.onnx"
    graph.write_bytes(b"no graph")
    train = ("train", images.train_manifest, "--project", "flange")
    outcome = lfv_process(*train, "--backbone", graph)
    assert outcome.status == 2
    assert "refused: It is not an ONNX file" in outcome.err
    outcome = lfv_process(*train, "--backbone", graph, "--detector", graph)
    assert outcome.status == 2
    assert "not both" in outcome.err
    outcome = lfv_process(*train, "--network", "--detector", graph)
    assert outcome.status == 2
    assert "set detector or network, not both" in outcome.err
    outcome = lfv_process(*train, "--network", "--endpoint-url", "http://127.0.0.1:9")
    assert outcome.status == 2
    assert "lfv serve" in outcome.err
    outcome = lfv_process(*train, "--detector", graph, "--endpoint-url", "http://127.0.0.1:9")
    assert outcome.status == 2
    assert "lfv serve" in outcome.err


def test_a_running_service_uses_the_options_of_each_training(
    lfv_process: Lfv, images: DemoSet, tmp_path: Path
) -> None:
    """As under `lfv up`: the service was started without the detector, and stays up."""
    graph = tmp_path / "detector.onnx"
    graph.write_bytes(onnx_models.darkness_detector().SerializeToString())
    settings = get_settings()
    train = ("train", images.train_manifest, "--project", "flange", "--json")
    with embedded_service(settings) as url:
        outcome = lfv_process(*train, "--detector", graph, "--miss-cost", 4, "--no-backbone")
        assert outcome.status == 0, outcome.err
        trained = outcome.json()
        assert "training images are unknown" in trained["message"]  # as of all detectors
        with closing(lookoutvision_client(url, settings.region)) as client:
            tags = client.list_tags_for_resource(ResourceArn=trained["model_arn"])["Tags"]
        assert "a missed defect costs 4 false alarms" in lfv_process("models").out
        (model,) = lfv_process("models", "--json").json()
        assert model["training"]["miss_cost"] == 4.0
    assert {tag["Key"]: tag["Value"] for tag in tags} == {
        "lfv:train:detector": onnx_digest(graph),
        "lfv:train:miss_cost": "4.0",
        "lfv:train:pretrained": "false",
    }


def test_the_service_decides_options_that_are_not_given(tmp_path: Path) -> None:
    announce(tmp_path, sorted(NAMES))
    assert training_request(get_settings(home=tmp_path)) == TrainingRequest()
    given = get_settings(home=tmp_path, miss_cost=1.0, false_alarms=0.1)
    assert training_request(given) == TrainingRequest(miss_cost=1.0, false_alarms=0.1)
    elsewhere = given.model_copy(update={"endpoint_url": "http://127.0.0.1:9"})
    assert training_request(elsewhere) == TrainingRequest()


def test_options_that_an_older_service_ignores_are_refused(
    tmp_path: Path,
) -> None:
    announce(tmp_path, None)
    assert training_request(get_settings(home=tmp_path)) == TrainingRequest()
    with pytest.raises(ServiceNotStarted, match=r"earlier release.*lfv down"):
        training_request(get_settings(home=tmp_path, miss_cost=4.0))


def test_a_network_without_torch_is_refused_before_images_are_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lfv.run.models.training_settings.find_spec", lambda _: None)
    with pytest.raises(LfvSettingsError, match=r"needs PyTorch.*lfv-pipeline\[network\]"):
        training_request(get_settings(home=tmp_path, network=True))


def announce(home: Path, options: list[str] | None) -> None:
    """Write the file of a ready service."""
    places = ServicePlaces(get_settings(home=home).service_home)
    places.home.mkdir(parents=True, exist_ok=True)
    taken = {} if options is None else {"training_options": options}
    places.ready_file.write_text(json.dumps({"endpoint_url": "x", **taken}))


def test_a_misspelt_source_is_refused_before_a_service_starts(lfv: Lfv, tmp_path: Path) -> None:
    outcome = lfv("train", tmp_path / "prats", "--project", "parts")
    assert outcome.status == 1
    assert outcome.err.startswith("lfv: no manifest, folder or image found at ")


@pytest.mark.parametrize(
    ("progress", "ends", "told"),
    [
        ("version 2: TRAINING", True, ": the version of parts in training was discarded; earlier"),
        ("version 2: TRAINING", False, ": a training that has started continues in the service"),
        ("version 2: TRAINED", True, ""),
    ],
)
def test_an_interrupted_training_reports_its_outcome(
    lfv: Lfv,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    progress: str,
    ends: bool,
    told: str,
) -> None:
    def interrupted(*_: object, progress: Callable[[str], None], **__: object) -> None:
        progress(said)
        raise KeyboardInterrupt

    said = progress
    monkeypatch.setattr("lfv.run.models.training.train_project", interrupted)
    monkeypatch.setattr("lfv.run.embedded_service.ends_with_us", lambda _: ends)
    outcome = lfv("train", tmp_path, "--project", "parts")
    assert outcome.status == 130
    assert outcome.out == ""
    shown, end = outcome.err.splitlines()
    assert shown == f"train parts: {progress}"
    assert end.startswith(f"lfv: interrupted{told}")
    assert end.endswith("stay in use" if told else "interrupted")


def test_a_service_ends_with_the_command_that_started_it_unless_others_use_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = get_settings(home=tmp_path)
    lock = ServicePlaces(settings.service_home).users_lock
    lock.parent.mkdir(parents=True)
    monkeypatch.setattr("lfv.run.embedded_service._started", [])
    assert not ends_with_us(settings)  # somebody else's
    monkeypatch.setattr("lfv.run.embedded_service._started", [object()])
    assert ends_with_us(settings)
    with service_user(lock):
        assert not ends_with_us(settings)
    with lock.open("r+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # like a service that is ending
        assert ends_with_us(settings)
    assert not ends_with_us(settings.model_copy(update={"endpoint_url": "http://127.0.0.1:9"}))
