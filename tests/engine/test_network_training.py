"""Training networks with torch, where it is installed (`make test-network` installs it)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lfv.engine import Predictor, TrainingImage, TrainingOptions, pixels, train
from lfv.engine.metrics import auroc
from lfv.engine.network import trial
from lfv.engine.network.design import CELL, Design, build
from lfv.engine.network.onnx_export import build_network
from lfv.engine.onnx_session import OnnxSession

torch = pytest.importorskip("torch", reason="torch is not installed: make test-network")
learning = pytest.importorskip("lfv.engine.network.learning")

Plates = Callable[..., list[TrainingImage]]
SIDES = (64, 64)


@pytest.fixture(scope="module", autouse=True)
def few_pixels() -> Iterator[None]:
    """The engine's pixel networks learn from an eighth of the pixels, to save time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pixels, "PER_CLASS", 150)
        yield


def spotted(count: int, seed: int) -> tuple[list[Any], NDArray[np.bool_], list[Any]]:
    """Noise; every second image with a bright square, and its mask."""
    random = np.random.default_rng(seed)
    images, labels = [], []
    for number in range(count):
        image = random.integers(60, 160, (*SIDES, 3), dtype=np.uint8)
        label = np.zeros(SIDES, dtype=np.uint8)
        if number % 2:
            y, x = random.integers(4, 44, 2)
            image[y : y + 14, x : x + 14] = random.integers(120, 220, (14, 14, 3))
            label[y : y + 14, x : x + 14] = 1
        images.append(image)
        labels.append(label)
    return images, np.arange(count) % 2 == 1, labels


def learned(
    design: Design, seed: int = 1, *, steps: int = 40, told: Callable[[], None] = lambda: None
) -> dict[str, NDArray[np.float32]]:
    images, truth, labels = spotted(24, 0)
    known = labels if design.classes else None
    with learning.one_thread():
        weights: dict[str, NDArray[np.float32]] = learning.learn(
            design, images, truth, known, steps, seed, told
        )
    return weights


@pytest.mark.parametrize("classes", [0, 3])
def test_the_graph_computes_what_torch_computes(classes: int) -> None:
    """Statistics other than 0 and 1: torch normalises by them, and the graph has them folded in."""
    design = Design(96, 64, classes)
    tensors = learning._Tensors(3)
    random = torch.Generator().manual_seed(4)
    image = np.random.default_rng(5).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    shown = learning._to_floats(torch.from_numpy(image).permute(2, 0, 1)[None])
    with torch.no_grad():
        build(design, shown, tensors)
        for name in tensors.running:
            tensors.running[name].uniform_(0.3, 1.5, generator=random)
        for name in tensors.learned:
            if name.endswith((".gain", ".bias")):
                tensors.learned[name].uniform_(0.3, 1.5, generator=random)
        tensors.learning = False
        wanted = build(design, shown, tensors)[0].numpy()
    output = OnnxSession(build_network(design, learning._fold_normalisation(tensors)))(image)
    assert wanted.std() > 0 or wanted.size == 1
    np.testing.assert_allclose(output, wanted, rtol=1e-3, atol=1e-3)


def test_a_network_learns_masks_and_scores() -> None:
    images, truth, labels = spotted(16, 99)
    paint = OnnxSession(build_network(Design(*SIDES, 2), learned(Design(*SIDES, 2))))
    both = either = 0
    for image, label in zip(images, labels, strict=True):
        found, wanted = paint(image).argmax(axis=0) == 1, label[2::CELL, 2::CELL] == 1
        both, either = both + (found & wanted).sum(), either + (found | wanted).sum()
    assert both / either > 0.5
    score = OnnxSession(build_network(Design(*SIDES, 0), learned(Design(*SIDES, 0))))
    assert auroc(truth, np.array([score(image).item() for image in images])) > 0.9


def test_a_training_depends_on_the_seed_and_on_nothing_else() -> None:
    steps = []
    first = learned(Design(*SIDES, 2), steps=4, told=lambda: steps.append(1))
    torch.manual_seed(0)
    torch.rand(5)
    again, other = (learned(Design(*SIDES, 2), seed, steps=4) for seed in (1, 2))
    assert len(steps) == 4
    assert first.keys() == again.keys()
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not np.array_equal(first["head.weight"], other["head.weight"])


def test_labels_move_with_their_images() -> None:
    """Where the image is bright the target is 1, however both were turned and shifted."""
    random = np.random.default_rng(0)
    labels = np.zeros((6, 64, 96, 1), dtype=np.uint8)
    labels[:, 10:40, 20:50] = 1
    given = learning._batch(list(labels))
    shown = learning._batch(list(np.repeat(labels * 200 + 20, 3, axis=3)))
    images, moved = learning._augment(shown, given, random)
    assert not torch.equal(moved, given.float())
    for image, label in zip(images, moved, strict=True):
        inside = image[:, label[0] == 1].mean(dim=1)
        outside = image[:, label[0] == 0].mean(dim=1)
        assert (inside - outside).min() > 0.8
        assert 500 < label.sum() < 1500  # of 900, scaled a little
    shares = learning._shares(moved, 2)
    assert shares.shape == (6, 2, 16, 24)
    assert shares.sum(dim=1).numpy() == pytest.approx(np.ones((6, 16, 24)))
    assert shares[:, 1].mean().item() == pytest.approx(moved.mean().item(), rel=1e-4)


def test_the_threads_of_torch_are_restored() -> None:
    before = torch.get_num_threads()
    with learning.one_thread():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before


def test_a_network_that_helps_is_kept_and_served_without_torch(
    make_plates: Plates,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    run_python: Callable[[str], str],
) -> None:
    monkeypatch.setattr(trial, "PIXEL_BUDGET", 96 * 80 * 8 * 30)  # 30 steps
    images = make_plates(8, 8, first=20, masks=True)
    # A gain that any network reaches: the test is about keeping it.
    monkeypatch.setattr("lfv.engine.network.selection.OVERLAP_GAIN", -1.0)
    told: list[float] = []
    outcome = train(
        images,
        [],
        tmp_path,
        options=TrainingOptions(network=True, seed=3),
        progress=lambda share, _: told.append(share),
    )
    network = outcome.evaluation["Details"]["Network"]
    assert network["Used"] is True
    assert told == sorted(told)
    assert 0 < (tmp_path / "network.onnx").stat().st_size < 2**20
    assert outcome.findings is not None
    assert any("The network is used for masks" in one for one in outcome.findings.remarks)
    body = images[-1].path.read_bytes()
    said = Predictor.load(tmp_path).predict(body)
    code = (
        "import sys; from pathlib import Path; from lfv.engine import Predictor; "
        f"body = Path({str(images[-1].path)!r}).read_bytes(); "
        f"said = Predictor.load(Path({str(tmp_path)!r})).predict(body); "
        "print(said.is_anomalous, said.confidence, len(said.anomaly_mask), 'torch' in sys.modules)"
    )
    assert said.anomaly_mask is not None
    assert (
        run_python(code) == f"{said.is_anomalous} {said.confidence} {len(said.anomaly_mask)} False"
    )
