"""Implements the engine's plugin for networks."""

from __future__ import annotations

from concurrent.futures import Executor
from dataclasses import replace

from lfv.engine.metrics import auroc
from lfv.engine.network.availability import import_learning
from lfv.engine.network.stored import Network
from lfv.engine.network.trial import UNTRIED, try_network
from lfv.engine.plugins import NetworkPlugin
from lfv.engine.training.dataset import Dataset
from lfv.engine.training.fit import GOOD_ENOUGH, Fitted
from lfv.engine.training.grouping import Groups
from lfv.engine.types import Progress, TrainingOptions

#: Name of the verdict in the evaluation's details.
DETAIL = "Network"


class _Networks:
    def require(self) -> None:
        import_learning()

    def improve(
        self,
        data: Dataset,
        fitted: Fitted,
        folds: Groups,
        options: TrainingOptions,
        executor: Executor,
        progress: Progress,
    ) -> Fitted:
        truth, pixels, scores = data.truth, fitted.pixels, fitted.validated.scores
        if not truth.any():
            return fitted.with_outcome(DETAIL, UNTRIED)
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
        improved = replace(
            fitted,
            validated=replace(fitted.validated, scores=tried.scores),
            pixels=pixels,
            network=tried.network,
        )
        return improved.with_outcome(DETAIL, tried.outcome)

    from_contents = staticmethod(Network.from_contents)


NETWORKS: NetworkPlugin = _Networks()
