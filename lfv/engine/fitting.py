"""The second phase of training: heads are fitted, and cross-validated with all their choices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace

from lfv.engine.backbone import Backbone, Painter, beside
from lfv.engine.backbone_trial import BackboneTrial, Verdict, rival_sets
from lfv.engine.crossval import CrossValidated, cross_validate
from lfv.engine.dataset import Dataset
from lfv.engine.ensemble import candidate_sets
from lfv.engine.feature_model import build_feature_model
from lfv.engine.grouping import Groups
from lfv.engine.metrics import auroc
from lfv.engine.normals import fit_normals
from lfv.engine.observations import OVERVIEW, PIXELS, Observation
from lfv.engine.observing import Observed, look_closer
from lfv.engine.pixels import PixelResults, cross_fit
from lfv.engine.planning import details_of, overview_of
from lfv.engine.plugins import Companion, TrialVerdict
from lfv.engine.types import Progress, TrainingOptions
from lfv.engine.views import View

GOOD_ENOUGH = 0.999
"""Out-of-fold AUROC above which no dearer view is tried."""
BACKBONE_DETAIL = "Backbone"
"""Name of the backbone's verdict in the evaluation's details."""


@dataclass(frozen=True)
class Fitted:
    """Fitted heads, and the out-of-fold scores that they are calibrated on."""

    validated: CrossValidated
    views: Mapping[str, View]
    onnx_models: Mapping[str, bytes]
    pixels: PixelResults | None = None
    backbone: Backbone | None = None
    painter: Painter | None = None
    network: Companion | None = None
    verdicts: Mapping[str, TrialVerdict] = field(default_factory=dict)
    """What came of optional parts, by their names in the evaluation's details."""

    def with_verdict(self, name: str, verdict: TrialVerdict) -> Fitted:
        """The same with one more verdict."""
        return replace(self, verdicts={**self.verdicts, name: verdict})


def fit_alone(data: Dataset, seen: Observed, folds: Groups, backbone: Backbone | None) -> Fitted:
    """Fit to normal images alone."""
    ensemble, scores = fit_normals(seen.observations, folds)
    view = overview_of(data)
    fitted = Fitted(
        CrossValidated(ensemble, scores),
        {OVERVIEW: view},
        {OVERVIEW: build_feature_model(view.tile)},
    )
    if backbone is None:
        return fitted
    return fitted.with_verdict(BACKBONE_DETAIL, Verdict(backbone.sha256))


def fit_labelled(
    data: Dataset,
    seen: Observed,
    groups: Groups,
    folds: Groups,
    options: TrainingOptions,
    executor: Executor,
    progress: Progress,
    backbone: Backbone | None,
) -> Fitted:
    """Fit to normal and anomalous images, choices included."""
    truth, seed = data.truth, options.seed
    views = {OVERVIEW: overview_of(data)}
    pixels, trial = None, None
    if backbone is not None:
        progress(0.4, "running the backbone")
        trial = BackboneTrial(data, backbone, seen.grid, executor)
    if seen.pixel_view is not None:
        views[PIXELS] = seen.pixel_view
        pixels = cross_fit(seen.pixels, truth, groups, folds, seed, executor)
        if trial is not None:
            progress(0.45, "trying the backbone for masks")
            beside_ours = beside(seen.pixels, trial.features)
            other = cross_fit(beside_ours, truth, groups, folds, seed, executor)
            pixels = trial.paint(pixels, other, folds)
        progress(0.55, "learning")
    sets = candidate_sets((), pixels=pixels is not None)
    observations: Sequence[Observation] = seen.observations
    validated = cross_validate(observations, truth, groups, folds, sets, seed, executor, pixels)
    details = details_of(data)
    if details and auroc(truth, validated.scores) < GOOD_ENOUGH:
        progress(0.6, "looking closer")
        observations = look_closer(data, observations, details, executor)
        views |= details
        progress(0.75, "learning")
        sets = candidate_sets(tuple(details), pixels=pixels is not None)
        validated = cross_validate(observations, truth, groups, folds, sets, seed, executor, pixels)
    if trial is not None and auroc(truth, validated.scores) < GOOD_ENOUGH:
        progress(0.8, "trying the backbone")
        rivals = rival_sets(sets, pixels=pixels is not None)
        validated = cross_validate(
            trial.described(observations),
            truth,
            groups,
            folds,
            sets,
            seed,
            executor,
            pixels,
            rivals,
        )
        trial.judge(validated.ensemble)
    used = set(validated.ensemble.views) | ({PIXELS} & views.keys())
    kept = {name: view for name, view in views.items() if name in used}
    # A painter runs the pixel network itself, on our features and the backbone's.
    folded = None if trial is not None and trial.painter is not None else pixels
    onnx_models = {
        name: build_feature_model(
            view.tile,
            folded.head.layers if name == PIXELS and folded is not None else (),
            folded.refiner.projection if name == PIXELS and folded is not None else None,
        )
        for name, view in kept.items()
    }
    fitted = Fitted(validated, kept, onnx_models, pixels)
    if trial is None:
        return fitted
    fitted = replace(fitted, backbone=trial.kept, painter=trial.painter)
    return fitted.with_verdict(BACKBONE_DETAIL, trial.verdict)
