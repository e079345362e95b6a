"""Training: from labelled images to an artifact folder, phase by phase."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from lfv.engine.alignment import Aligner
from lfv.engine.backbone import Backbone
from lfv.engine.ensemble import FEW_IMAGES
from lfv.engine.errors import TrainingError
from lfv.engine.metrics import Floats, auroc
from lfv.engine.normals import images_for_rank, is_enough_for_rank
from lfv.engine.observations import OVERVIEW
from lfv.engine.pixel_head import classes_at
from lfv.engine.plugins import (
    backbone_plugin,
    detector_plugin,
    network_plugin,
)
from lfv.engine.pretrained.backbone import PretrainedBackbone
from lfv.engine.regions import learn_regions
from lfv.engine.trained_model import Model
from lfv.engine.training.checks import (
    check_variety,
    find_oddities,
    find_poor_overlaps,
    find_shortcut,
    find_unpainted,
)
from lfv.engine.training.crossval import OUTER_FOLDS
from lfv.engine.training.dataset import Dataset, check_test, read_training
from lfv.engine.training.evaluation import Evaluated, evaluate
from lfv.engine.training.findings import Findings
from lfv.engine.training.finish import calibrate, finish, judge_out_of_fold, judge_test
from lfv.engine.training.fit import Fitted, fit_labelled, fit_normals_only
from lfv.engine.training.grouping import Groups, assign_folds, near_duplicates
from lfv.engine.training.observe import Observed, observe
from lfv.engine.training.plan import choose_aligner, overview_of
from lfv.engine.types import Progress, TrainingImage, TrainingOptions, TrainingOutcome
from lfv.formats.training_request import TrainingRequest


def _silent(_share: float, _what: str) -> None:
    return None


def train(
    train: Sequence[TrainingImage],
    test: Sequence[TrainingImage],
    output: Path,
    *,
    options: TrainingOptions | None = None,
    progress: Progress = _silent,
) -> TrainingOutcome:
    """Train a model and write it to a folder.

    Deterministic for a seed on one machine.

    Args:
        train: Labelled images to learn from, all of one size.
        test: Labelled images to measure the model on; if empty, it is measured out of fold.
        output: The folder to write; see :mod:`lfv.engine.artifact`.
        options: How to train.
        progress: Called with the share that is done, 0 to 1, and the current activity.

    Returns:
        The model's figures and its verdicts on images that it was not trained on.

    Raises:
        TrainingError: If the data cannot be trained on, or torch is needed and not installed; the
            message is for the user.
        OnnxRejected: If a user's ONNX file cannot be used.
    """
    options = options or TrainingOptions()
    _check_options(options)
    if options.detector is not None:
        return detector_plugin().recalibrate(
            train, test, output, options.detector, options, progress
        )
    progress(0.0, "checking images")
    data, warnings = read_training(train)
    check_test(test, data.width, data.height)
    backbone = _read_backbone(data, options, progress)
    # One BLAS thread per worker, because more would only wait for each other on small matrices.
    with threadpool_limits(1), ThreadPoolExecutor(max(1, options.workers)) as executor:
        prepared = _prepare(data, warnings, options, executor, progress)
        fitted = _fit(prepared, backbone, options, executor, progress)
        progress(0.85, "calibrating")
        model, evaluated = _calibrate(prepared, fitted, options)
        if test:
            evaluated = judge_test(
                model, test, executor, lambda s: progress(0.85 + 0.1 * s, "testing")
            )
    findings = _findings(prepared, fitted, model, evaluated, options, out_of_fold=not test)
    return finish(output, model.to_contents(), findings, progress)


@dataclass(frozen=True)
class _Prepared:
    """Images with their observations, in folds."""

    data: Dataset
    observed: Observed
    aligner: Aligner | None
    alignment_gain: float
    groups: Groups
    folds: Groups
    warnings: tuple[str, ...]


def _check_options(options: TrainingOptions) -> None:
    try:
        TrainingRequest(miss_cost=options.miss_cost, false_alarms=options.false_alarms)
    except ValueError as error:
        raise TrainingError(f"{str(error).capitalize()}.") from error
    if options.detector is not None:
        if options.network:
            raise TrainingError(
                "A detector is not trained: choose either a detector or a trained network."
            )
        if options.backbone is not None:
            raise TrainingError(
                "A detector is not trained: choose either a detector or a backbone."
            )
    if options.network:
        network_plugin().require()


def _read_backbone(data: Dataset, options: TrainingOptions, progress: Progress) -> Backbone | None:
    """Return the user's backbone, or the pretrained one unless that is disabled."""
    size = data.width, data.height
    if options.backbone is not None:
        progress(0.02, "trying out the backbone")
        return backbone_plugin().read(options.backbone, options.onnx_bytes, size)
    if not options.pretrained:
        return None
    rarer = min(data.truth.sum(), (~data.truth).sum())
    return PretrainedBackbone.for_images(
        *size, is_alone=rarer < FEW_IMAGES, has_masks=bool(data.anomaly_types)
    )


def _prepare(
    data: Dataset,
    warnings: Sequence[str],
    options: TrainingOptions,
    executor: Executor,
    progress: Progress,
) -> _Prepared:
    """Compute the images' observations, and put similar images into the same fold."""
    found = list(warnings)
    aligner, gain = choose_aligner(data, overview_of(data))
    observed = observe(data, aligner, executor, lambda s: progress(0.05 + 0.3 * s, "looking"))
    if data.anomaly_types:
        found += find_unpainted(data.images, data.type_names, observed.shares)
        if not observed.shows_anomalies:
            data, observed = replace(data, anomaly_types=()), replace(observed, pixel_view=None)
    repeats = near_duplicates(observed.signatures, observed.identities, data.truth)
    check_variety(repeats, data.truth)
    random = np.random.default_rng(options.seed)
    folds = assign_folds(repeats.groups, data.truth, OUTER_FOLDS, random)
    found += find_oddities(data.images, repeats, observed.signatures)
    return _Prepared(data, observed, aligner, gain, repeats.groups, folds, tuple(found))


def _fit(
    prepared: _Prepared,
    backbone: Backbone | None,
    options: TrainingOptions,
    executor: Executor,
    progress: Progress,
) -> Fitted:
    """Fit heads, and a network if requested."""
    data, observed, folds = prepared.data, prepared.observed, prepared.folds
    progress(0.35, "learning")
    if data.truth.any():
        fitted = fit_labelled(
            data, observed, prepared.groups, folds, options, executor, progress, backbone
        )
    else:
        fitted = fit_normals_only(data, observed, prepared.groups, options, executor, backbone)
    if options.network:
        fitted = network_plugin().improve(data, fitted, folds, options, executor, progress)
    return fitted


def _calibrate(
    prepared: _Prepared, fitted: Fitted, options: TrainingOptions
) -> tuple[Model, list[Evaluated]]:
    """Build the model, and judge the training images out of fold."""
    data, folds = prepared.data, prepared.folds
    model, probability = _with_probabilities(data, fitted, prepared.aligner, folds, options)
    classes: Iterable[NDArray[np.uint8] | None] = (None,) * len(data.images)
    if fitted.pixels is not None:
        called = probability >= model.threshold
        regions, logits = learn_regions(
            fitted.pixels.logits, prepared.observed.shares, called, folds
        )
        model = replace(model, regions=regions)
        classes = (classes_at(one, (data.width, data.height)) for one in logits)
    return model, judge_out_of_fold(data, classes, probability, model.threshold)


def _with_probabilities(
    data: Dataset,
    fitted: Fitted,
    aligner: Aligner | None,
    folds: Groups,
    options: TrainingOptions,
) -> tuple[Model, Floats]:
    """Return the model, and the out-of-fold probability of every training image."""
    scores = fitted.validated.scores
    fit, probability, threshold = calibrate(data.truth, scores, folds, options)
    model = Model(
        width=data.width,
        height=data.height,
        anomaly_types=data.anomaly_types,
        background_color=data.background_color,
        sample_range=data.sample_range,
        views=fitted.views,
        onnx_models=fitted.onnx_models,
        aligner=aligner if OVERVIEW in fitted.views else None,
        ensemble=fitted.validated.ensemble,
        refiner=None if fitted.pixels is None else fitted.pixels.refiner,
        calibration=fit,
        threshold=threshold,
        backbone=fitted.backbone,
        painter=fitted.painter,
        network=fitted.network,
        usual=fitted.usual,
    )
    return model, probability


def _findings(
    prepared: _Prepared,
    fitted: Fitted,
    model: Model,
    evaluated: Sequence[Evaluated],
    options: TrainingOptions,
    *,
    out_of_fold: bool,
) -> Findings:
    """Collect the findings of the training."""
    data = prepared.data
    result = evaluate(
        evaluated,
        training_images=len(data.images),
        out_of_fold=out_of_fold,
        threshold=model.threshold,
    )
    outcomes = fitted.outcomes.values()
    result["Details"] |= {name: one.to_json() for name, one in fitted.outcomes.items()}
    shortcut: Iterable[str] = ()
    if data.truth.any():
        separation = auroc(data.truth, fitted.validated.scores)
        result["Details"]["OutOfFoldAUROC"] = separation
        shortcut = find_shortcut(prepared.observed.borders, data.truth, prepared.folds, separation)
    return Findings(
        data=data,
        evaluated=evaluated,
        evaluation=result,
        out_of_fold=out_of_fold,
        threshold=model.threshold,
        trials=fitted.validated.ensemble.trials,
        ensemble=model.ensemble,
        views=fitted.views,
        alignment_gain=prepared.alignment_gain,
        aligned=model.aligner is not None,
        warnings=(
            *prepared.warnings,
            *shortcut,
            *_extrapolation_warnings(data, options),
            *find_poor_overlaps(result["LabelEvaluationResults"]),
            *(outcome.sentence() for outcome in outcomes if not outcome.is_used),
        ),
        remarks=tuple(outcome.sentence() for outcome in outcomes if outcome.is_used),
    )


def _extrapolation_warnings(data: Dataset, options: TrainingOptions) -> Iterator[str]:
    """Yield a warning if too few normal images make the false-alarm rate an extrapolation."""
    count, rate = len(data.images), options.false_alarms
    if not data.truth.any() and not is_enough_for_rank(count, rate):
        yield (
            f"The limit for a false-alarm rate of {rate:.1%} is extrapolated from {count} normal "
            f"images: train with {images_for_rank(rate)} or more to measure it."
        )
