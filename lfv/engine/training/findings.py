"""The findings of a training as plain values, for its report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lfv.engine import metrics
from lfv.engine.ensemble import Ensemble, Trial
from lfv.engine.training.dataset import Dataset
from lfv.engine.training.evaluation import Evaluated
from lfv.engine.types import (
    Curve,
    TrainingFindings,
    TriedExpert,
    TriedView,
    TriedViews,
)
from lfv.engine.views import View


@dataclass(frozen=True)
class Findings:
    """The parts of a finished training from which its findings are derived."""

    data: Dataset
    evaluated: Sequence[Evaluated]
    evaluation: Mapping[str, Any]
    out_of_fold: bool
    threshold: float
    trials: Sequence[Trial]
    #: None for a user's own detector.
    ensemble: Ensemble | None
    views: Mapping[str, View]
    alignment_gain: float
    aligned: bool
    warnings: Sequence[str]
    #: Remarks for users, in addition to the warnings.
    remarks: Sequence[str] = ()

    def values(self) -> TrainingFindings:
        """Return the findings as plain values."""
        data = self.data
        anomalous = int(data.truth.sum())
        roc, precision_recall, reliability = self._curves()
        return TrainingFindings(
            normal=len(data.images) - anomalous,
            anomalous=anomalous,
            out_of_fold=self.out_of_fold,
            threshold=float(self.threshold),
            roc=roc,
            precision_recall=precision_recall,
            reliability=reliability,
            own_features=self.ensemble is not None,
            alignment_gain=float(self.alignment_gain),
            aligned=self.aligned,
            tried=tuple(TriedViews(tuple(one.views), float(one.auroc)) for one in self.trials),
            experts=self._experts(),
            views=tuple(
                TriedView(name, view.width, view.height, view.tiles_across, view.tiles_down)
                for name, view in self.views.items()
            )
            if self.ensemble is not None
            else (),
            remarks=tuple(self.remarks),
        )

    def _curves(self) -> tuple[Curve | None, Curve | None, Curve | None]:
        """Return ROC, precision over recall, and reliability; none without both classes."""
        truth = np.array([one.image.is_anomalous_truth for one in self.evaluated], dtype=bool)
        probability = np.array([one.image.probability for one in self.evaluated])
        if not truth.any() or truth.all():
            return None, None, None
        false_positives, true_positives = metrics.roc_curve(truth, probability)
        recall, precision = metrics.precision_recall_curve(truth, probability)
        order = np.argsort(probability, kind="stable")
        parts = np.array_split(order, min(10, max(1, len(order) // 5)))
        return (
            _curve(false_positives, true_positives),
            _curve(recall, precision),
            _curve(
                np.array([probability[part].mean() for part in parts]),
                np.array([truth[part].mean() for part in parts]),
            ),
        )

    def _experts(self) -> tuple[TriedExpert, ...]:
        if self.ensemble is None or not self.trials:
            return ()
        ensemble = self.ensemble
        weights = {
            f"{expert.kind} @ {expert.view}": weight
            for expert, weight in zip(ensemble.experts, ensemble.weights, strict=True)
        }
        total = sum(weights.values())
        return tuple(
            TriedExpert(name, float(area), float(weights[name] / total) if name in weights else 0.0)
            for name, area in self.trials[-1].experts.items()
        )


def _curve(x: metrics.Floats, y: metrics.Floats) -> Curve:
    return Curve(tuple(map(float, x)), tuple(map(float, y)))
