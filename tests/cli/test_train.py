"""`lfv train` with the embedded service, as a user runs it."""

from __future__ import annotations

import fcntl
import json
from typing import TYPE_CHECKING

import pytest

from lfv.cli.demo_images import DemoSet, make_demo_set
from lfv.run.embedded_service import (
    ServicePlaces,
    _check_graph,
    ends_with_us,
    service_options,
    service_user,
)
from lfv.run.errors import ServiceNotStarted
from lfv.server.options import options_from
from lfv.settings import get_settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Lfv


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> DemoSet:
    return make_demo_set(tmp_path_factory.mktemp("images"), train=8, inspect=2)


def test_a_training_that_fails_says_why(lfv_process: Lfv, images: DemoSet, tmp_path: Path) -> None:
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


def test_a_graph_is_for_the_service_on_this_machine(
    lfv_process: Lfv, images: DemoSet, tmp_path: Path
) -> None:
    graph = tmp_path / "graph.onnx"
    graph.write_bytes(b"no graph")
    train = ("train", images.train_manifest, "--project", "flange")
    outcome = lfv_process(*train, "--backbone", graph)
    assert outcome.status == 1
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


def test_a_service_that_is_up_has_to_train_networks_if_they_are_wanted(tmp_path: Path) -> None:
    places = ServicePlaces(tmp_path)
    settings = get_settings(home=tmp_path, network=True)
    for told in ('{"endpoint_url": "x", "graphs": []}', '{"endpoint_url": "x"}', "no JSON"):
        places.ready_file.write_text(told)
        with pytest.raises(ServiceNotStarted, match="lfv serve --network"):
            _check_graph(places, settings)
    places.ready_file.write_text('{"endpoint_url": "x", "graphs": ["network=True"]}')
    _check_graph(places, settings)


@pytest.mark.parametrize(
    ("given", "option", "mark"),
    [
        ({"pretrained_backbone": False}, "--no-backbone", "pretrained=False"),
        ({"miss_cost": 4.0}, "--miss-cost 4", "miss_cost=4.0"),
        ({"false_alarms": 0.1}, "--false-alarms 0.1", "false_alarms=0.1"),
    ],
)
def test_a_service_that_is_up_has_to_train_as_wanted(
    tmp_path: Path, given: dict[str, float], option: str, mark: str
) -> None:
    places = ServicePlaces(tmp_path)
    settings = get_settings(home=tmp_path, **given)
    places.ready_file.write_text('{"endpoint_url": "x", "graphs": []}')
    with pytest.raises(ServiceNotStarted, match=f"lfv serve {option}"):
        _check_graph(places, settings)
    places.ready_file.write_text(json.dumps({"endpoint_url": "x", "graphs": [mark]}))
    _check_graph(places, settings)
    options = options_from({"home": str(tmp_path), **service_options(settings, training=True)})
    assert [f"{k}={v}" for k, v in options.training_options.items()] == [mark]


def test_a_misspelt_source_is_refused_before_a_service_starts(lfv: Lfv, tmp_path: Path) -> None:
    outcome = lfv("train", tmp_path / "prats", "--project", "parts")
    assert outcome.status == 1
    assert outcome.err.startswith("lfv: no manifest, folder or image found at ")


@pytest.mark.parametrize(
    ("progress", "ends", "told"),
    [
        ("version 2: TRAINING", True, ": the version of parts in training was not made; earlier"),
        ("version 2: TRAINING", False, ": a training that had begun goes on at the service"),
        ("version 2: TRAINED", True, ""),
    ],
)
def test_an_interrupted_training_says_what_became_of_it(
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
    monkeypatch.setattr("lfv.run.training.train_project", interrupted)
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
        fcntl.flock(held, fcntl.LOCK_EX)  # as a service that is ending
        assert ends_with_us(settings)
    assert not ends_with_us(settings.model_copy(update={"endpoint_url": "http://127.0.0.1:9"}))
