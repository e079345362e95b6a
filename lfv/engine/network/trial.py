"""Tries a network: trains it without each fold, evaluates it on that fold, keeps it if it helps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, wait
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lfv.engine.metrics import Floats
from lfv.engine.network.availability import import_learning
from lfv.engine.network.design import BATCH, STRIDE, Design
from lfv.engine.network.onnx_export import build_network
from lfv.engine.network.selection import choose_maps, choose_scores
from lfv.engine.network.stored import Network, score_of
from lfv.engine.onnx_session import OnnxSession
from lfv.engine.training.dataset import Dataset, load, load_labels
from lfv.engine.training.grouping import Groups
from lfv.engine.training.trial_outcome import TrialOutcome
from lfv.engine.types import TrainingImage

Matrix = NDArray[np.float32]
Pixels = NDArray[np.uint8]
Progress = Callable[[float], None]
#: The outcome if there is nothing to try a network for.
UNTRIED = TrialOutcome("The network", "out of fold")
#: Longer side of the images in pixels, with masks and without; images are never enlarged.
PAINT_SIDE, SCORE_SIDE = 384, 256
#: Maximum number of pixels of one training, which bounds its time to minutes of one core.
PIXEL_BUDGET = 440e6
#: Maximum number of times that each image is used.
ROUNDS = 100


@dataclass(frozen=True)
class NetworkOutcome:
    """The outcome of a trial."""

    #: [images] out of fold, with the network if it helps on the other folds.
    scores: Floats
    #: Logits, likewise, [classes, rows, columns]; None without masks.
    logits: tuple[Matrix, ...] | None
    #: Trained on all images; None if it is not used.
    network: Network | None
    outcome: TrialOutcome


@dataclass(frozen=True)
class _Examples:
    """The images and labels that networks are trained on."""

    images: list[Pixels]
    truth: NDArray[np.bool_]
    labels: list[Pixels | None] | None


def design_of(data: Dataset, *, masks: bool) -> Design:
    """Return the design of a network for these images."""
    longer = max(data.width, data.height)
    scale = min(1.0, (PAINT_SIDE if masks else SCORE_SIDE) / longer)
    width, height = (
        max(2 * STRIDE, round(side * scale / STRIDE) * STRIDE) for side in (data.width, data.height)
    )
    return Design(width, height, len(data.anomaly_types) + 1 if masks else 0)


def steps_for(design: Design, images: int) -> int:
    """Return the number of training steps, of BATCH images each."""
    passes = min(PIXEL_BUDGET / (design.width * design.height), ROUNDS * images)
    return max(1, round(passes / BATCH))


def try_network(
    data: Dataset,
    scores: Floats,
    maps: Sequence[Matrix] | None,
    folds: Groups,
    seed: int,
    executor: Executor,
    progress: Progress,
    *,
    for_scores: bool,
) -> NetworkOutcome:
    """Train a network without each fold, and on all images if it helps.

    Args:
        scores: [images] the engine's own scores, out of fold.
        maps: The engine's own logits, out of fold; None without masks.
        for_scores: Whether there is anything to improve in ``scores``.
        progress: Called with the share done.
    """
    truth = data.truth
    if maps is None and not for_scores:
        return NetworkOutcome(scores, None, None, UNTRIED)
    design = design_of(data, masks=maps is not None)
    examples = _load_examples(data, design, executor)
    parts = [np.flatnonzero(folds != fold) for fold in np.unique(folds)]
    total = len(parts) + 1
    onnx_models = _train(
        design, examples, parts, seed, executor, lambda done: progress(done * len(parts) / total)
    )
    outputs: list[Matrix] = [np.empty(0, np.float32)] * len(truth)
    for fold, onnx_model in zip(np.unique(folds), onnx_models, strict=True):
        run = OnnxSession(onnx_model)
        for i in np.flatnonzero(folds == fold).tolist():
            outputs[i] = run(examples.images[i])
    outcome, stack, share, logits = UNTRIED, None, 0.0, None
    if maps is not None:
        rows, columns = design.grid
        cells = [load_labels(image, data.type_names, (columns, rows)) for image in data.images]
        chosen, share, overlap = choose_maps(maps, outputs, cells, folds)
        logits = tuple(chosen)
        outcome = replace(outcome, in_masks=share > 0, overlap=overlap)
    if for_scores:
        network_scores = np.array([score_of(output) for output in outputs])
        scores, stack, area = choose_scores(scores, network_scores, truth, folds)
        outcome = replace(outcome, in_verdicts=stack is not None, auroc=area)
    if not outcome.is_used:
        return NetworkOutcome(scores, logits, None, outcome)
    everything = [np.arange(len(truth))]
    (onnx_model,) = _train(
        design,
        examples,
        everything,
        seed,
        executor,
        lambda done: progress((len(parts) + done) / total),
    )
    network = Network(design.width, design.height, onnx_model, stack, share)
    return NetworkOutcome(scores, logits, network, outcome)


def _load_examples(data: Dataset, design: Design, executor: Executor) -> _Examples:
    size = design.width, design.height

    def look(image: TrainingImage) -> tuple[Pixels, Pixels | None]:
        labels = load_labels(image, data.type_names, size) if design.classes else None
        return load(image, size).pixels, labels

    rows = list(executor.map(look, data.images))
    labels = [row[1] for row in rows] if design.classes else None
    return _Examples([row[0] for row in rows], data.truth, labels)


def _train(
    design: Design,
    examples: _Examples,
    parts: Sequence[NDArray[np.int64]],
    seed: int,
    executor: Executor,
    progress: Progress,
) -> list[bytes]:
    """Return the ONNX models of networks trained on each of ``parts``."""
    torch = import_learning()
    done = [0] * len(parts)
    jobs: list[Future[bytes]] = []
    planned = 0
    for number, part in enumerate(parts):
        known = part.tolist()
        labels = None
        if examples.labels is not None:
            known = [i for i in known if examples.labels[i] is not None]
            labels = [one for one in (examples.labels[i] for i in known) if one is not None]
        steps = steps_for(design, len(known))
        planned += steps

        def advance(number: int = number) -> None:
            done[number] += 1

        def job(
            known: list[int] = known,
            labels: list[Pixels] | None = labels,
            steps: int = steps,
            advance: Callable[[], None] = advance,
        ) -> bytes:
            images = [examples.images[i] for i in known]
            weights = torch.learn(
                design, images, examples.truth[known], labels, steps, seed, advance
            )
            return build_network(design, weights)

        jobs.append(executor.submit(job))
    with torch.one_thread():
        while wait(jobs, timeout=1).not_done:
            progress(sum(done) / planned)
    return [job.result() for job in jobs]
