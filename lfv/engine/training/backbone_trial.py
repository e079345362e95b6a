"""Decides whether a backbone helps.

The pretrained one is used for masks, and for verdicts if the stack gives it weight. A user's own
backbone makes the model larger and slower, so it must show a gain that is unlikely to be chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import replace

import numpy as np

from lfv.engine.backbone import Backbone, Painter, extract_features, with_backbone
from lfv.engine.ensemble import BACKBONE, Ensemble
from lfv.engine.experts import DETAIL_EXPERTS, Member
from lfv.engine.metrics import Bools
from lfv.engine.observations import Observation
from lfv.engine.pixels import FirstPass, PixelResults
from lfv.engine.training.dataset import Dataset
from lfv.engine.training.trial_outcome import TrialOutcome

#: Least gain in AUROC of a set of experts with the backbone over the best one without.
LEAST_GAIN = 0.005
#: The gain must also be this many standard errors, or correct this share of the wrongly ordered
#: pairs, whichever is less.
ERRORS, SHARE = 1.5, 0.5
#: Least gain in mean IoU in the cells of a pixel network with the backbone.
OVERLAP_GAIN = 0.01


def outcome_of(backbone: Backbone, *, in_verdicts: bool = False) -> TrialOutcome:
    """Return the outcome of a backbone without figures; its overlap is that of the first pass."""
    return TrialOutcome(
        backbone.name, "in cross-validation", backbone.sha256, in_verdicts=in_verdicts
    )


class BackboneTrial:
    """The trial of a backbone in one training: its features, and whether they help."""

    def __init__(
        self,
        data: Dataset,
        backbone: Backbone,
        grid: tuple[int, int] | None,
        executor: Executor,
    ) -> None:
        """Run it on every image.

        Args:
            grid: (rows, columns) of the pixel network; None without masks.
        """
        self.backbone = backbone
        self.features, self._reducer = extract_features(
            data, backbone, grid, executor, with_patches=not backbone.is_gated
        )
        self.painter: Painter | None = None
        self.outcome = outcome_of(backbone)

    def take(self, first: FirstPass) -> FirstPass:
        """Use a pixel network with the backbone, because too few masks allow no comparison."""
        self.outcome = replace(self.outcome, in_masks=True)
        return first

    def choose(self, own: FirstPass, other: FirstPass) -> FirstPass:
        """Choose between pixel networks without and with the backbone."""
        taken = other.overlap - own.overlap >= OVERLAP_GAIN
        overlap = own.overlap, other.overlap
        self.outcome = replace(self.outcome, in_masks=taken, overlap=overlap)
        return other if taken else own

    def paint(self, results: PixelResults) -> None:
        """Keep the chosen pixel network, if it uses the backbone's maps."""
        if self.outcome.in_masks and self._reducer is not None:
            channels = len(results.head.heads[0].layers[0][0])
            nothing = np.empty((channels, 0), np.float32)
            self.painter = Painter(self._reducer, results.head, nothing)

    def add_features(self, observations: Sequence[Observation]) -> tuple[Observation, ...]:
        """Return the observations with the backbone's features added."""
        return with_backbone(observations, self.features)

    def judge(self, ensemble: Ensemble) -> None:
        """Record the choice between sets of experts without and with the backbone."""
        self.outcome = replace(
            self.outcome, in_verdicts=BACKBONE in ensemble.views, auroc=aurocs(ensemble)
        )

    @property
    def used_backbone(self) -> Backbone | None:
        """The backbone, if the model uses it; else None."""
        return self.backbone if self.outcome.is_used else None


def rival_sets(own: Sequence[Sequence[Member]], *, pixels: bool) -> list[tuple[Member, ...]]:
    """Return sets of experts with the backbone: without and with the engine's own views."""
    theirs = tuple((kind, BACKBONE) for kind in DETAIL_EXPERTS)
    instead = (*own[0], *theirs) if pixels else theirs
    return [instead, (*own[-1], *theirs)]


def required_gain(without: float, truth: Bools) -> float:
    """Return the least gain in AUROC for which a backbone is used, on these images."""
    clear = min(ERRORS * standard_error(without, truth), SHARE * (1 - without))
    return max(LEAST_GAIN, clear)


def standard_error(area: float, truth: Bools) -> float:
    """Return the standard error of an AUROC on these images (Hanley, McNeil 1982)."""
    positives, negatives = int(truth.sum()), int((~truth).sum())
    first, second = area / (2 - area), 2 * area**2 / (1 + area)
    variance = area * (1 - area)
    variance += (positives - 1) * (first - area**2) + (negatives - 1) * (second - area**2)
    return float(np.sqrt(max(variance, 0) / (positives * negatives)))


def aurocs(ensemble: Ensemble) -> tuple[float, float] | None:
    """Return the cross-validated AUROC of the best set without, and the best with, the backbone.

    None if only one kind was tried.
    """
    without = [trial.auroc for trial in ensemble.trials if BACKBONE not in trial.views]
    with_it = [trial.auroc for trial in ensemble.trials if BACKBONE in trial.views]
    return (max(without), max(with_it)) if without and with_it else None
