"""The network without torch, which only its training needs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from lfv.engine import (
    ArtifactError,
    Predictor,
    TrainingError,
    TrainingImage,
    TrainingOptions,
    artifact,
    pixels,
    train,
)
from lfv.engine.metrics import auroc
from lfv.engine.network import availability, selection
from lfv.engine.network.design import BATCH, Design
from lfv.engine.network.onnx_export import build_network
from lfv.engine.network.selection import choose_maps, choose_scores, stack_out_of_fold
from lfv.engine.network.stored import Network, Stack, blend, score_of
from lfv.engine.network.trial import ROUNDS, UNTRIED, design_of, steps_for
from lfv.engine.onnx_session import OnnxSession
from lfv.engine.pixel_head import log_probabilities
from tests.support import networks

Plates = Callable[..., list[TrainingImage]]
QUIET = TrainingOptions(seed=3)


@pytest.fixture(scope="module", autouse=True)
def few_pixels() -> Iterator[None]:
    """The engine's pixel networks learn from an eighth of the pixels, to save time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pixels, "PER_CLASS", 150)
        yield


# --- without torch


def test_without_torch_a_network_is_refused_before_anything_is_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(availability, "find_spec", lambda _: None)
    with pytest.raises(TrainingError, match=r"pip install 'lfv-pipeline\[network\]'"):
        train([], [], tmp_path, options=TrainingOptions(network=True))


def test_a_network_cannot_be_combined_with_a_detector(tmp_path: Path) -> None:
    options = TrainingOptions(network=True, detector=tmp_path / "none.onnx")
    with pytest.raises(TrainingError, match="either a detector or a trained network"):
        train([], [], tmp_path, options=options)


def test_importing_the_engine_imports_no_torch(run_python: Callable[[str], str]) -> None:
    assert run_python("import sys, lfv.engine; print('torch' in sys.modules)") == "False"


# --- the ONNX model


@pytest.mark.parametrize("classes", [0, 2, 3])
def test_the_graph_has_the_shapes_of_its_design(classes: int) -> None:
    design = Design(96, 80, classes)
    graph = build_network(design, networks.drawn_weights(design))
    random = np.random.default_rng(1)
    output = OnnxSession(graph)(random.integers(0, 256, (80, 96, 3), dtype=np.uint8))
    assert output.shape == ((classes, 20, 24) if classes else (1, 1, 1))
    assert {node.domain for node in onnx.load_from_string(graph).graph.node} == {""}
    assert len(graph) < 2**20


def test_weights_of_another_design_are_refused() -> None:
    weights = networks.drawn_weights(Design(96, 80, 2))
    with pytest.raises(ValueError, match="head has 2 outputs instead of 3"):
        build_network(Design(96, 80, 3), weights)
    with pytest.raises(KeyError):
        build_network(Design(96, 80, 2), networks.drawn_weights(Design(96, 80, 0)))


def test_a_training_is_bounded_for_any_number_of_images() -> None:
    design = Design(384, 288, 2)
    assert steps_for(design, 50) == steps_for(design, 16_000)
    assert steps_for(Design(64, 64, 2), 16) == ROUNDS * 16 // BATCH


# --- scores


def scores_of(seed: int, truth: NDArray[np.bool_], clear: float) -> NDArray[np.float64]:
    scores: NDArray[np.float64] = np.random.default_rng(seed).normal(0, 1, len(truth))
    return scores + clear * truth


TRUTH = np.arange(100) % 2 == 0
FOLDS = np.arange(100) // 20


def test_scores_of_a_network_that_knows_more_are_used() -> None:
    own, network = scores_of(0, TRUTH, 1.0), scores_of(1, TRUTH, 3.0)
    scores, stack, (without, with_it) = choose_scores(own, network, TRUTH, FOLDS)
    assert stack is not None
    assert without == auroc(TRUTH, own) < with_it - 0.05
    assert auroc(TRUTH, scores) == pytest.approx(with_it, abs=0.02)
    assert stack.share > 0.5
    assert np.isfinite(stack(own, np.full(100, 1e9))).all()


@pytest.mark.parametrize("clear", [-2.0, 0.0])
def test_scores_of_a_network_that_knows_nothing_change_nothing(clear: float) -> None:
    own, network = scores_of(0, TRUTH, 1.5), scores_of(1, TRUTH, clear)
    scores, stack, (without, with_it) = choose_scores(own, network, TRUTH, FOLDS)
    assert stack is None
    assert scores.tolist() == own.tolist()
    assert with_it <= without + 0.02


@pytest.mark.parametrize("fold", range(5))
def test_a_fold_has_no_say_in_its_own_scores(fold: int) -> None:
    own, network = scores_of(0, TRUTH, 1.0), scores_of(1, TRUTH, 2.0)
    out = fold == FOLDS
    other_truth = np.where(out, ~TRUTH, TRUTH)
    for function in (
        lambda t: choose_scores(own, network, t, FOLDS)[0],
        lambda t: stack_out_of_fold(own, network, t, FOLDS),
    ):
        before, after = function(TRUTH), function(other_truth)
        assert before[out].tolist() == after[out].tolist()
        assert before[~out].tolist() != after[~out].tolist()


def test_a_network_with_a_share_of_zero_changes_no_score() -> None:
    own = scores_of(0, TRUTH, 1.0)
    stack = Stack(0.3, 2.0, 5.0, 0.1, 0.0)
    assert stack(own, own * 100) == pytest.approx(own)
    assert Stack.from_json(stack.to_json()) == stack


# --- maps


def maps_of(labels: Sequence[NDArray[np.uint8]], noise: float, seed: int) -> list[Any]:
    """Correct logits with noise."""
    random = np.random.default_rng(seed)
    found = []
    for one in labels:
        sure = np.stack([one == 0, one == 1]).astype(np.float32)
        found.append((sure + random.normal(0, noise, sure.shape)).astype(np.float32))
    return found


def label_maps(seed: int = 5) -> list[NDArray[np.uint8]]:
    random = np.random.default_rng(seed)
    return [(random.random((12, 16)) < 0.2 * (i % 2)).astype(np.uint8) for i in range(20)]


MAP_FOLDS = np.arange(20) // 4


def test_maps_are_averaged_where_both_know_something() -> None:
    labels = label_maps()
    own, network = maps_of(labels, 0.7, 1), maps_of(labels, 0.7, 2)
    chosen, share, (without, with_it) = choose_maps(own, network, labels, MAP_FOLDS)
    assert share == 0.5
    assert with_it > without + 0.05
    assert chosen[3] == pytest.approx(
        (log_probabilities(own[3]) + log_probabilities(network[3])) / 2
    )


def test_maps_of_a_much_better_network_are_taken_alone() -> None:
    labels = label_maps()
    own, network = maps_of(labels, 2.0, 1), maps_of(labels, 0.1, 2)
    chosen, share, _ = choose_maps(own, network, [*labels[:-1], None], MAP_FOLDS)
    assert share == 1.0
    assert all(np.array_equal(one, other) for one, other in zip(chosen, network, strict=True))


def test_maps_of_a_worse_network_change_nothing() -> None:
    labels = label_maps()
    own, network = maps_of(labels, 0.2, 1), maps_of(labels, 3.0, 2)
    chosen, share, _ = choose_maps(own, network, labels, MAP_FOLDS)
    assert share == 0
    assert all(one is other for one, other in zip(chosen, own, strict=True))


def test_a_fold_has_no_say_in_its_own_maps() -> None:
    """The network is good in all folds but one; only that one's own labels show it."""
    labels = label_maps()
    own = maps_of(labels, 0.7, 1)
    bad = MAP_FOLDS == 2
    network = [
        wrong[::-1] if is_bad else right
        for right, wrong, is_bad in zip(
            maps_of(labels, 0.1, 2), maps_of(labels, 0.1, 3), bad, strict=True
        )
    ]
    chosen, _, _ = choose_maps(own, network, labels, MAP_FOLDS)
    for i in np.flatnonzero(bad).tolist():
        assert not np.array_equal(chosen[i], own[i])  # the other folds chose the network


def test_blending_brings_maps_to_the_networks_grid() -> None:
    random = np.random.default_rng(0)
    own = random.normal(0, 1, (2, 10, 12)).astype(np.float32)
    network = random.normal(0, 1, (2, 20, 24)).astype(np.float32)
    assert blend(own, network, 0.5).shape == (2, 20, 24)
    assert blend(own, network, 1.0) is network
    assert score_of(network + np.array([-3, 3], np.float32)[:, None, None]) > score_of(network)
    assert score_of(np.full((1, 1, 1), 2.5, np.float32)) == 2.5


# --- remarks


def test_the_outcome_reports_both_figures() -> None:
    used = replace(UNTRIED, in_verdicts=True, in_masks=True, auroc=(0.8, 0.9), overlap=(0.71, 0.75))
    assert used.to_json() == {
        "Used": True,
        "AUROCWithout": 0.8,
        "AUROCWith": 0.9,
        "IoUWithout": 0.71,
        "IoUWith": 0.75,
    }
    assert "used for verdicts and masks (AUROC 0.800 without and 0.900 with it; " in used.sentence()
    refused = replace(UNTRIED, overlap=(0.7, 0.6)).sentence()
    assert "is not used, because it does not help enough (IoU in the cells 0.70" in refused
    assert "The network is not used: there is nothing to improve" in UNTRIED.sentence()


# --- in a training, with random weights


@dataclass(frozen=True)
class Plain:
    """A model without a network, and what it was trained on."""

    folder: Path
    images: list[TrainingImage]
    evaluation: Mapping[str, Any]


@pytest.fixture(scope="module")
def trained(make_plates: Plates, tmp_path_factory: pytest.TempPathFactory) -> Plain:
    """A segmentation model of two types without a network."""
    folder = tmp_path_factory.mktemp("model")
    images = make_plates(8, 8, first=70, masks=True)
    return Plain(folder, images, train(images, [], folder, options=QUIET).evaluation)


@pytest.fixture
def by_chance(monkeypatch: pytest.MonkeyPatch) -> list[set[bytes]]:
    """Random weights instead of torch's; records the images of each training."""
    shown: list[set[bytes]] = []

    def learn(
        design: Design, images: Sequence[Any], truth: Any, labels: Any, steps: int, *_: Any
    ) -> dict[str, Any]:
        assert len(images) == len(truth) > 0
        assert labels is None or len(labels) == len(images)
        shown.append({image.tobytes() for image in images})
        return networks.drawn_weights(design)

    fake = ModuleType("learning")
    vars(fake).update(learn=learn, one_thread=nullcontext)
    monkeypatch.setitem(sys.modules, "lfv.engine.network.learning", fake)
    monkeypatch.setattr(availability, "find_spec", lambda _: object())
    return shown


def test_a_network_that_does_not_help_leaves_nothing(
    by_chance: list[set[bytes]],
    trained: Plain,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    # With sixteen images, random weights may get one right by chance.
    monkeypatch.setattr(selection, "required_gain", lambda *_: 0.5)
    options = replace(QUIET, network=True)
    outcome = train(trained.images, [], tmp_path, options=options)
    network = outcome.evaluation["Details"].pop("Network")
    assert network["Used"] is False
    assert network["IoUWith"] <= network["IoUWithout"]
    assert outcome.evaluation == trained.evaluation
    assert any("network is not used" in warning for warning in outcome.warnings)
    files = [
        sorted(path.name for path in folder.iterdir()) for folder in (tmp_path, trained.folder)
    ]
    assert files[0] == files[1]
    assert "network" not in artifact.load(tmp_path).model
    everything = set().union(*by_chance)
    assert len(by_chance) == 5  # one for each fold, none on everything
    assert all(everything - part for part in by_chance)
    held_out = [everything - part for part in by_chance]
    assert sum(map(len, held_out)) == len(everything)


def test_from_normal_images_alone_no_network_is_trained(
    by_chance: list[set[bytes]], make_plates: Plates, tmp_path: Path
) -> None:
    images = make_plates(12, 0)
    outcome = train(images, [], tmp_path, options=replace(QUIET, network=True))
    assert outcome.evaluation["Details"]["Network"] == {"Used": False}
    assert not by_chance


# --- in an artifact


def with_network(folder: Path, output: Path, network: Network, **changed: Any) -> artifact.Contents:
    """A copy of an artifact with a network in it, parts of its description changed."""
    contents = artifact.load(folder)
    contents.model["network"] = {**network.to_json(), **changed}
    contents.onnx_models["network"] = network.onnx_model
    artifact.save(output, contents)
    return contents


def some_network(classes: int = 3, *, stack: Stack | None = None, share: float = 1.0) -> Network:
    design = Design(96, 80, classes)
    graph = build_network(design, networks.drawn_weights(design))
    return Network(96, 80, graph, stack, share)


def test_a_stored_network_changes_masks_and_verdicts(trained: Plain, tmp_path: Path) -> None:
    folder, body = trained.folder, trained.images[-1].path.read_bytes()
    plain = Predictor.load(folder).predict(body)
    with_network(folder, tmp_path / "mask", some_network())
    painted = Predictor.load(tmp_path / "mask").predict(body)
    assert painted.confidence == plain.confidence
    assert painted.anomaly_mask != plain.anomaly_mask
    stack = Stack(0.0, 1.0, 0.0, 1e-3, 1.0)
    with_network(folder, tmp_path / "verdict", some_network(stack=stack, share=0.0))
    judged = Predictor.load(tmp_path / "verdict").predict(body)
    assert judged.anomaly_mask == plain.anomaly_mask
    assert (judged.is_anomalous, judged.confidence) != (plain.is_anomalous, plain.confidence)


@pytest.mark.parametrize(
    "changed",
    [
        {"size": [192, 80]},
        {"size": [96]},
        {"size": [96, 81]},
        {"size": [1 << 20, 1 << 20]},
        {"share": 2.0},
        {"share": 0.0},
        {"share": "much"},
        {"stack": [0.0, 1.0]},
        {"stack": [0.0, 0.0, 0.0, 1.0, 0.5]},
        {"stack": [0.0, 1.0, 0.0, 1.0, 7.0]},
    ],
)
def test_an_impossible_description_is_refused(
    trained: Plain, tmp_path: Path, changed: dict[str, Any]
) -> None:
    with_network(trained.folder, tmp_path, some_network(), **changed)
    with pytest.raises(ArtifactError):
        Predictor.load(tmp_path)


def test_a_graph_that_is_not_the_described_one_is_refused(trained: Plain, tmp_path: Path) -> None:
    network = some_network()
    outside = onnx.load_from_string(network.onnx_model)
    tensor = outside.graph.initializer[0]
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/hostname")
    foreign = onnx.load_from_string(network.onnx_model)
    foreign.graph.node[0].domain = "com.example"
    onnx_models = {
        "classes": some_network(2).onnx_model,
        "score": some_network(0).onnx_model,
        "outside": outside.SerializeToString(),
        "foreign": foreign.SerializeToString(),
        "short": network.onnx_model[:-100],
        "empty": b"",
    }
    for name, body in onnx_models.items():
        with_network(trained.folder, tmp_path / name, replace(network, onnx_model=body))
        with pytest.raises(ArtifactError):
            Predictor.load(tmp_path / name)
    contents = with_network(trained.folder, tmp_path / "missing", network)
    del contents.onnx_models["network"]
    artifact.save(tmp_path / "missing", contents)
    with pytest.raises(ArtifactError):
        Predictor.load(tmp_path / "missing")


def test_designs_fit_any_image(make_plates: Plates) -> None:
    from lfv.engine.training.dataset import read_training

    data, _ = read_training(make_plates(5, 5))
    for width, height in ((64, 4096), (4096, 64), (4096, 4096), (64, 64), (640, 480)):
        for masks in (True, False):
            design = design_of(replace(data, width=width, height=height), masks=masks)
            assert design.is_possible
