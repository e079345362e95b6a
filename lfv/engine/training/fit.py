"""The second phase of training: fits heads, cross-validating all choices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace

import numpy as np

from lfv.engine.backbone import (
    Backbone,
    Painter,
    append_features,
    extract_features,
    usual_cells,
    with_backbone,
)
from lfv.engine.ensemble import FEW_IMAGES, candidate_sets
from lfv.engine.feature_model import build_feature_model
from lfv.engine.heat_map import UsualCells
from lfv.engine.normals import FOLDS, fit_normals
from lfv.engine.observations import OVERVIEW, PIXELS, Observation
from lfv.engine.pixels import FirstPass, PixelResults, fit_first_pass, refine, without_second_pass
from lfv.engine.plugins import Companion
from lfv.engine.synthetic import with_defects
from lfv.engine.training.backbone_trial import BackboneTrial, outcome_of, required_gain, rival_sets
from lfv.engine.training.crossval import (
    TOLERANCE,
    CrossValidated,
    CrossValidation,
    Members,
    with_summaries,
)
from lfv.engine.training.dataset import Dataset
from lfv.engine.training.grouping import Groups, assign_folds
from lfv.engine.training.observe import Observed, add_details
from lfv.engine.training.plan import details_of, overview_of
from lfv.engine.training.trial_outcome import TrialOutcome
from lfv.engine.types import Progress, TrainingOptions
from lfv.engine.views import View

#: Out-of-fold AUROC above which no more expensive view is tried.
GOOD_ENOUGH = 0.999
#: Gain in AUROC that larger views must show in addition to the pretrained backbone. On 18 draws of
#: 30 + 30 images of six sets they did not raise the AUROC on new images (0.929 with and without),
#: and took as long as everything else.
BESIDE_BACKBONE = 0.01
#: Name of the backbone's outcome in the evaluation's details.
BACKBONE_DETAIL = "Backbone"


@dataclass(frozen=True)
class Fitted:
    """Fitted heads, and the out-of-fold scores on which they are calibrated."""

    validated: CrossValidated
    views: Mapping[str, View]
    onnx_models: Mapping[str, bytes]
    pixels: PixelResults | None = None
    backbone: Backbone | None = None
    painter: Painter | None = None
    usual: UsualCells | None = None
    network: Companion | None = None
    #: Outcomes of optional parts, by their names in the evaluation's details.
    outcomes: Mapping[str, TrialOutcome] = field(default_factory=dict)

    def with_outcome(self, name: str, outcome: TrialOutcome) -> Fitted:
        """Return a copy with one more outcome."""
        return replace(self, outcomes={**self.outcomes, name: outcome})


def fit_normals_only(
    data: Dataset,
    observed: Observed,
    groups: Groups,
    options: TrainingOptions,
    executor: Executor,
    backbone: Backbone | None,
) -> Fitted:
    """Fit to normal images only."""
    observations = observed.observations
    gated = backbone is not None and backbone.is_gated
    used = None if gated else backbone
    usual = None
    if used is not None:
        features, _ = extract_features(data, used, None, executor)
        observations = with_backbone(observations, features)
        usual = usual_cells(features, data.truth)
        observations = with_defects(observations, data, used, options.seed, executor)
    random = np.random.default_rng(options.seed)
    folds = assign_folds(groups, data.truth, min(FOLDS, len(np.unique(groups))), random)
    ensemble, scores = fit_normals(observations, folds, backbone=used is not None)
    views = {OVERVIEW: overview_of(data)} if used is None else {}
    fitted = Fitted(
        CrossValidated(ensemble, scores),
        views,
        {name: build_feature_model(view.tile) for name, view in views.items()},
        backbone=used,
        usual=usual,
    )
    if backbone is None:
        return fitted
    outcome = outcome_of(backbone, in_verdicts=used is not None)
    return fitted.with_outcome(BACKBONE_DETAIL, outcome)


def fit_labelled(
    data: Dataset,
    observed: Observed,
    groups: Groups,
    folds: Groups,
    options: TrainingOptions,
    executor: Executor,
    progress: Progress,
    backbone: Backbone | None,
) -> Fitted:
    """Fit to normal and anomalous images, including all choices."""
    truth = data.truth
    views = {OVERVIEW: overview_of(data)}
    pixels, trial = None, None
    if backbone is not None:
        progress(0.36, "running the backbone")
        trial = BackboneTrial(data, backbone, observed.grid, executor)
    if observed.pixel_view is not None:
        views[PIXELS] = observed.pixel_view
        progress(0.45, "learning masks")
        first = _first_pass(observed, trial, folds, options, executor, progress)
        if len(first.head.heads) > 1:
            pixels = without_second_pass(first)
        else:
            progress(0.54, "learning outlines")
            pixels = refine(first, options.seed, executor)
        if trial is not None:
            trial.paint(pixels)
    progress(0.6, "learning verdicts")
    search = _Search(
        data,
        CrossValidation(truth, groups, options.seed, executor),
        with_summaries(observed.observations, None if pixels is None else pixels.summaries),
        trial,
        executor,
        has_pixels=pixels is not None,
    )
    validated = search.run(progress)
    views |= search.details
    used = set(validated.ensemble.views) | ({PIXELS} & views.keys())
    kept = {name: view for name, view in views.items() if name in used}
    # A painter runs the pixel network itself, on the engine's features and the backbone's.
    folded = None if trial is not None and trial.painter is not None else pixels
    onnx_models = {
        name: build_feature_model(
            view.tile,
            folded.head.heads[0].layers if name == PIXELS and folded is not None else (),
            folded.refiner.projection
            if name == PIXELS and folded is not None and folded.refiner is not None
            else None,
        )
        for name, view in kept.items()
    }
    fitted = Fitted(validated, kept, onnx_models, pixels)
    if trial is None:
        return fitted
    usual = None if trial.used_backbone is None else usual_cells(trial.features, truth)
    fitted = replace(fitted, backbone=trial.used_backbone, painter=trial.painter, usual=usual)
    return fitted.with_outcome(BACKBONE_DETAIL, trial.outcome)


def _first_pass(
    observed: Observed,
    trial: BackboneTrial | None,
    folds: Groups,
    options: TrainingOptions,
    executor: Executor,
    progress: Progress,
) -> FirstPass:
    """Fit the pixel networks' first pass, with the backbone if it is used."""
    if trial is None:
        return fit_first_pass(observed.pixels, folds, options.seed, executor)
    both = append_features(observed.pixels, trial.features)
    channels = len(observed.pixels[0].features)
    if not trial.backbone.is_gated:
        return trial.take(fit_first_pass(both, folds, options.seed, executor, channels))
    own = fit_first_pass(observed.pixels, folds, options.seed, executor)
    progress(0.5, "learning masks with the backbone")
    other = fit_first_pass(both, folds, options.seed, executor, channels)
    return trial.choose(own, other)


class _Search:
    """The search for the cheapest experts that are as good as any."""

    def __init__(
        self,
        data: Dataset,
        validation: CrossValidation,
        observations: Sequence[Observation],
        trial: BackboneTrial | None,
        executor: Executor,
        *,
        has_pixels: bool,
    ) -> None:
        self._data = data
        self._validation = validation
        self._observations = observations
        self._trial = trial
        self._executor = executor
        self._has_pixels = has_pixels
        self._few = min(data.truth.sum(), (~data.truth).sum()) < FEW_IMAGES
        self.details: dict[str, View] = {}

    def run(self, progress: Progress) -> CrossValidated:
        """Try cheap sets first, and stop when there is nothing left to improve."""
        free = self._trial is not None and not self._trial.backbone.is_gated
        members = self._choose(self._sets())
        if free and not self._is_good(members):
            self._add_backbone()
            members = self._choose(self._sets(backbone=True))
        # With few images, chance would choose between views.
        details = {} if free and self._few else details_of(self._data)
        if details and not self._is_good(members):
            progress(0.7, "looking closer")
            self.details = details
            self._observations = add_details(
                self._data, self._observations, details, self._executor
            )
            progress(0.78, "learning verdicts")
            tolerance = BESIDE_BACKBONE if free else TOLERANCE
            members = self._choose(self._sets(backbone=free), tolerance)
        if self._trial is not None and not free and not self._is_good(members):
            members = self._try_gated(members)
        return self._finish(members)

    def _sets(self, *, backbone: bool = False) -> list[Members]:
        return candidate_sets(
            tuple(self.details), pixels=self._has_pixels, backbone=backbone, few=self._few
        )

    def _choose(self, sets: Sequence[Members], tolerance: float = TOLERANCE) -> Members:
        self._validation.add(sets, self._observations)
        return self._validation.best(sets, tolerance)

    def _is_good(self, members: Members) -> bool:
        return self._validation.trials[members].auroc >= GOOD_ENOUGH

    def _add_backbone(self) -> None:
        if self._trial is not None:
            self._observations = self._trial.add_features(self._observations)

    def _try_gated(self, own: Members) -> Members:
        """Return the best experts with a user's backbone, if they are clearly better."""
        self._add_backbone()
        other = self._choose(rival_sets(self._sets(), pixels=self._has_pixels))
        without, with_it = (self._validation.trials[m].auroc for m in (own, other))
        helps = with_it - without >= required_gain(without, self._data.truth)
        return other if helps else own

    def _finish(self, members: Members) -> CrossValidated:
        validated = self._validation.finish(members, self._observations)
        if self._trial is not None:
            self._trial.judge(validated.ensemble)
        return validated
