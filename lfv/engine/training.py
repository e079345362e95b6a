"""Training: from labelled images to an artifact folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from lfv.engine import calibration
from lfv.engine.alignment import Aligner
from lfv.engine.checks import (
    THUMBNAIL,
    border_of,
    check_variety,
    find_missed,
    find_oddities,
    find_unpainted,
)
from lfv.engine.crossval import (
    OUTER_FOLDS,
    CrossValidated,
    calibrated_probabilities,
    cross_validate,
)
from lfv.engine.custom_models.acceptance import Accepted, accept_backbone, read_graph
from lfv.engine.custom_models.backbone import (
    BroughtBackbone,
    beside,
)
from lfv.engine.custom_models.choosing import BackboneTrial, Verdict, rival_sets
from lfv.engine.custom_models.recalibrating import recalibrate
from lfv.engine.dataset import (
    Dataset,
    check_test,
    load,
    load_labels,
    load_shares,
    read_training,
)
from lfv.engine.ensemble import candidate_sets
from lfv.engine.errors import TrainingError
from lfv.engine.evaluation import Evaluated, evaluate
from lfv.engine.evidence import OVERVIEW, PIXELS, Evidence, Observer, scaled
from lfv.engine.finishing import Progress, finish, judge_test
from lfv.engine.graph import build_backbone
from lfv.engine.grouping import Groups, grouped_folds, identity, near_duplicates, signature
from lfv.engine.metrics import Floats, auroc
from lfv.engine.model import Model
from lfv.engine.network import choosing as network_choosing
from lfv.engine.network.availability import learning
from lfv.engine.network.stored import Network
from lfv.engine.network.trial import try_network
from lfv.engine.normals import alarm_calibration, fit_normals
from lfv.engine.pixel_head import classes_at
from lfv.engine.pixels import PixelData, PixelResults, cross_fit
from lfv.engine.planning import choose_aligner, details_of, overview_of, pixel_view_of
from lfv.engine.regions import learn_regions
from lfv.engine.report import Findings
from lfv.engine.types import TrainingImage, TrainingOptions, TrainingOutcome
from lfv.engine.views import View

GOOD_ENOUGH = 0.999
"""Out-of-fold AUROC above which no dearer view is tried."""


def _silent(_share: float, _what: str) -> None:
    return None


@dataclass(frozen=True)
class _Observed:
    """All images through one observer."""

    evidence: tuple[Evidence, ...]
    pixels: tuple[PixelData, ...]
    pixel_view: View | None
    """What masks are learned at; None where none shows anything."""
    signatures: NDArray[np.float32]
    identities: NDArray[np.int64]
    borders: NDArray[np.float32]

    @property
    def shares(self) -> list[NDArray[np.float16] | None]:
        """How much of each cell each class has, by image; None where nobody knows."""
        return [known.shares for known in self.pixels]


@dataclass(frozen=True)
class _Fitted:
    """A trained model with the out-of-fold scores it is calibrated on."""

    validated: CrossValidated
    views: dict[str, View]
    graphs: dict[str, bytes]
    pixels: PixelResults | None
    backbone: BroughtBackbone | None = None
    verdict: Verdict | None = None
    """What came of the backbone that a user brought."""
    network: Network | None = None
    network_verdict: network_choosing.Verdict | None = None
    """What came of a network trained with torch; None where none was asked for."""


def train(
    train: Sequence[TrainingImage],
    test: Sequence[TrainingImage],
    output: Path,
    *,
    options: TrainingOptions | None = None,
    progress: Progress = _silent,
) -> TrainingOutcome:
    """Train on ``train``, measure on ``test`` (out of fold when it is empty), write ``output``.

    Deterministic for a seed on one machine.

    :param progress: called with the share done, 0 to 1, and what is being done.
    :raises TrainingError: if the data cannot be trained on, or torch is wanted and not installed;
        the message is for the user.
    :raises GraphRefused: if a graph that was brought cannot be used.
    """
    options = options or TrainingOptions()
    if options.network:
        if options.detector is not None:
            raise TrainingError("A detector learns no more: give a detector or train a network.")
        learning()
    if options.detector is not None:
        if options.backbone is not None:
            raise TrainingError("A detector learns no more: give a backbone or a detector.")
        return recalibrate(train, test, output, options.detector, options, progress)
    progress(0.0, "checking images")
    data, warnings = read_training(train)
    check_test(test, data.width, data.height)
    accepted = None
    if options.backbone is not None:
        progress(0.02, "trying out the backbone")
        body = read_graph(options.backbone, options.graph_bytes)
        accepted = accept_backbone(body, (data.width, data.height))
    # One BLAS thread per worker: more only wait for each other on matrices as small as these.
    with threadpool_limits(1), ThreadPoolExecutor(max(1, options.workers)) as executor:
        aligner, gain = choose_aligner(data, overview_of(data))
        seen = _observe(data, aligner, executor, lambda s: progress(0.05 + 0.3 * s, "looking"))
        if data.anomaly_types:
            warnings += find_unpainted(data.images, data.type_names, seen.shares)
            if not _painted(seen):
                data, seen = replace(data, anomaly_types=()), replace(seen, pixel_view=None)
        repeats = near_duplicates(seen.signatures, seen.identities, data.truth)
        check_variety(repeats, data.truth)
        groups = repeats.groups
        folds = grouped_folds(groups, data.truth, OUTER_FOLDS, np.random.default_rng(options.seed))
        warnings += find_oddities(data.images, repeats, folds, seen.signatures, seen.borders)
        progress(0.35, "learning")
        if data.truth.any():
            fitted = _fit_labelled(data, seen, groups, folds, options, executor, progress, accepted)
        else:
            ensemble, scores = fit_normals(seen.evidence, folds)
            view = overview_of(data)
            graphs = {OVERVIEW: build_backbone(view.tile)}
            verdict = None if accepted is None else Verdict(accepted.sha256)
            validated = CrossValidated(ensemble, scores)
            fitted = _Fitted(validated, {OVERVIEW: view}, graphs, None, verdict=verdict)
        if options.network:
            fitted = _with_network(data, fitted, folds, options, executor, progress)
        progress(0.85, "calibrating")
        model, probability = _calibrated(data, fitted, aligner, folds)
        logits: tuple[NDArray[np.float32], ...] = ()
        if fitted.pixels is not None:
            called = probability >= model.threshold
            regions, logits = learn_regions(fitted.pixels.logits, seen.shares, called, folds)
            model = replace(model, regions=regions)
        if test:
            evaluated = judge_test(
                model, test, executor, lambda s: progress(0.85 + 0.1 * s, "testing")
            )
        else:
            evaluated = _judge_own(data, logits, probability, model.threshold)
    result = evaluate(
        evaluated,
        data.anomaly_types,
        training_images=len(data.images),
        out_of_fold=not test,
        threshold=model.threshold,
    )
    warnings += find_missed(result["LabelEvaluationResults"])
    remarks: list[str] = []
    tried = {"Backbone": fitted.verdict, "Network": fitted.network_verdict}
    for name, came_of_it in tried.items():
        if came_of_it is not None:
            result["Details"][name] = came_of_it.to_json()
            (remarks if came_of_it.used else warnings).append(came_of_it.sentence())
    findings = Findings(
        data=data,
        images={image.source_ref: image for image in [*train, *test]},
        evaluated=evaluated,
        evaluation=result,
        out_of_fold=not test,
        threshold=model.threshold,
        trials=fitted.validated.ensemble.trials,
        ensemble=model.ensemble,
        views=fitted.views,
        alignment_gain=gain,
        aligned=model.aligner is not None,
        warnings=tuple(warnings),
        remarks=tuple(remarks),
    )
    return finish(output, model.to_contents(), findings, options, progress)


def _observe(
    data: Dataset, aligner: Aligner | None, executor: Executor, progress: Callable[[float], None]
) -> _Observed:
    """The overview of every image and, with masks, its pixel features."""
    views = {OVERVIEW: overview_of(data)}
    pixel_view = pixel_view_of(data) if data.anomaly_types else None
    if pixel_view is not None:
        views[PIXELS] = pixel_view
    observer = Observer(views, aligner)

    def look(
        image: TrainingImage,
    ) -> tuple[Evidence, PixelData | None, NDArray[np.uint8], np.int64]:
        pixels = load(image, observer.decode_size).pixels
        evidence = observer(pixels)
        known = None
        if pixel_view is not None:
            features = observer.features(PIXELS, pixels).astype(np.float16)
            known = PixelData(features, load_shares(image, data.type_names, pixel_view.grid))
        return evidence, known, scaled(pixels, THUMBNAIL), identity(pixels)

    rows = []
    for number, row in enumerate(executor.map(look, data.images)):
        rows.append(row)
        progress((number + 1) / len(data.images))
    return _Observed(
        tuple(row[0] for row in rows),
        tuple(row[1] for row in rows if row[1] is not None),
        pixel_view,
        np.stack([signature(row[2]) for row in rows]),
        np.array([row[3] for row in rows]),
        np.stack([border_of(row[2]) for row in rows]),
    )


def _fit_labelled(
    data: Dataset,
    seen: _Observed,
    groups: Groups,
    folds: Groups,
    options: TrainingOptions,
    executor: Executor,
    progress: Progress,
    accepted: Accepted | None,
) -> _Fitted:
    truth, seed = data.truth, options.seed
    views = {OVERVIEW: overview_of(data)}
    pixels, trial = None, None
    if accepted is not None:
        progress(0.4, "showing the backbone every image")
        trial = BackboneTrial(data, accepted, _grid(seen), executor)
    if seen.pixel_view is not None:
        views[PIXELS] = seen.pixel_view
        pixels = cross_fit(seen.pixels, truth, groups, folds, seed, executor)
        if trial is not None:
            progress(0.45, "trying the backbone for masks")
            beside_ours = beside(seen.pixels, trial.sights)
            other = cross_fit(beside_ours, truth, groups, folds, seed, executor)
            pixels = trial.paint(pixels, other, folds)
        progress(0.55, "learning")
    sets = candidate_sets((), pixels=pixels is not None)
    evidence: Sequence[Evidence] = seen.evidence
    validated = cross_validate(evidence, truth, groups, folds, sets, seed, executor, pixels)
    details = details_of(data)
    if details and auroc(truth, validated.scores) < GOOD_ENOUGH:
        progress(0.6, "looking closer")
        evidence = _look_closer(data, evidence, details, executor)
        views |= details
        progress(0.75, "learning")
        sets = candidate_sets(tuple(details), pixels=pixels is not None)
        validated = cross_validate(evidence, truth, groups, folds, sets, seed, executor, pixels)
    if trial is not None and auroc(truth, validated.scores) < GOOD_ENOUGH:
        progress(0.8, "trying the backbone")
        rivals = rival_sets(sets, pixels=pixels is not None)
        validated = cross_validate(
            trial.described(evidence), truth, groups, folds, sets, seed, executor, pixels, rivals
        )
        trial.judge(validated.ensemble)
    used = set(validated.ensemble.views) | ({PIXELS} & views.keys())
    kept = {name: view for name, view in views.items() if name in used}
    # A painter runs the pixel network itself, on our features and the backbone's.
    folded = None if trial is not None and trial.painter is not None else pixels
    graphs = {
        name: build_backbone(
            view.tile,
            folded.head.layers if name == PIXELS and folded is not None else (),
            folded.refiner.projection if name == PIXELS and folded is not None else None,
        )
        for name, view in kept.items()
    }
    if trial is None:
        return _Fitted(validated, kept, graphs, pixels)
    return _Fitted(validated, kept, graphs, pixels, trial.backbone(), trial.verdict)


def _with_network(
    data: Dataset,
    fitted: _Fitted,
    folds: Groups,
    options: TrainingOptions,
    executor: Executor,
    progress: Progress,
) -> _Fitted:
    """The same with a trained network where it helps, and what came of it."""
    truth, pixels, scores = data.truth, fitted.pixels, fitted.validated.scores
    if not truth.any():
        return replace(fitted, network_verdict=network_choosing.Verdict())
    tried = try_network(
        data,
        scores,
        None if pixels is None else pixels.logits,
        folds,
        options.seed,
        executor,
        lambda s: progress(0.85 - 0.05 * (1 - s), f"training networks, {s:.0%}"),
        for_scores=auroc(truth, scores) < GOOD_ENOUGH,
    )
    if pixels is not None and tried.logits is not None:
        pixels = replace(pixels, logits=tried.logits)
    return replace(
        fitted,
        validated=replace(fitted.validated, scores=tried.scores),
        pixels=pixels,
        network=tried.network,
        network_verdict=tried.verdict,
    )


def _painted(seen: _Observed) -> bool:
    """Whether any image is known to show an anomaly, and where."""
    return any(d.shares is not None and bool(d.shares[1:].any()) for d in seen.pixels)


def _grid(seen: _Observed) -> tuple[int, int] | None:
    """(rows, columns) that the pixel network works on; None without masks."""
    return None if seen.pixel_view is None else seen.pixel_view.grid


def _look_closer(
    data: Dataset, evidence: Sequence[Evidence], details: dict[str, View], executor: Executor
) -> list[Evidence]:
    observer = Observer(details, None)

    def look(image: TrainingImage) -> Evidence:
        return observer(load(image, observer.decode_size).pixels)

    return [
        replace(old, descriptions={**old.descriptions, **new.descriptions})
        for old, new in zip(evidence, executor.map(look, data.images), strict=True)
    ]


def _calibrated(
    data: Dataset, fitted: _Fitted, aligner: Aligner | None, folds: Groups
) -> tuple[Model, Floats]:
    """The model, and the out-of-fold probability of every training image."""
    truth, scores = data.truth, fitted.validated.scores
    if truth.any():
        fit = calibration.fit(truth, scores)
        probability = calibrated_probabilities(truth, scores, folds)
    else:
        fit = alarm_calibration(len(truth))
        probability = fit(scores)
    model = Model(
        width=data.width,
        height=data.height,
        anomaly_types=data.anomaly_types,
        background_color=data.background_color,
        views=fitted.views,
        graphs=fitted.graphs,
        aligner=aligner if OVERVIEW in fitted.views else None,
        ensemble=fitted.validated.ensemble,
        refiner=None if fitted.pixels is None else fitted.pixels.refiner,
        calibration=fit,
        threshold=calibration.THRESHOLD,
        backbone=fitted.backbone,
        network=fitted.network,
    )
    return model, probability


def _judge_own(
    data: Dataset,
    logits: Sequence[NDArray[np.float32]],
    probability: Floats,
    threshold: float,
) -> list[Evaluated]:
    """Out-of-fold verdicts on the training images themselves.

    :param logits: of every image, [classes, rows, columns]; none without masks.
    """
    types, size = data.type_names, (data.width, data.height)
    rows = []
    for number, image in enumerate(data.images):
        classes = labels = None
        if logits:
            classes = classes_at(logits[number], size)
            labels = load_labels(image, types, size)
        rows.append(
            Evaluated.of(image, float(probability[number]), threshold, types, classes, labels)
        )
    return rows
