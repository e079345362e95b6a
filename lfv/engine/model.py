"""The trained model: from an image's pixels to a score and, with masks, a class per pixel."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lfv.engine.alignment import Aligner
from lfv.engine.artifact import Contents
from lfv.engine.backbone import Backbone
from lfv.engine.calibration import Calibration
from lfv.engine.custom_models.backbone import BROUGHT, BroughtBackbone, inspect_stored
from lfv.engine.descriptors import describe
from lfv.engine.ensemble import Ensemble
from lfv.engine.evidence import OVERVIEW, PIXELS, Evidence, Observer
from lfv.engine.network.stored import NETWORK, Network
from lfv.engine.pixel_head import classes_at, summarise
from lfv.engine.refinement import Refiner
from lfv.engine.regions import Regions
from lfv.engine.views import View

Decoded = Callable[[tuple[int, int]], NDArray[np.uint8]]


@dataclass(frozen=True)
class Judgement:
    """Raw output for one image."""

    probability: float
    """Of anomaly, calibrated."""
    classes: NDArray[np.uint8] | None
    """[height, width] of the original image; None for a classification model."""


Judge = Callable[[Decoded], Judgement]


class Trained(Protocol):
    """What a predictor needs of a model, whatever it is made of."""

    @property
    def width(self) -> int:
        """Of the images, in pixels."""

    @property
    def height(self) -> int:
        """Of the images, in pixels."""

    @property
    def anomaly_types(self) -> tuple[tuple[str, str], ...]:
        """(name, ``'#RRGGBB'``); empty for a classification model."""

    @property
    def background_color(self) -> str:
        """``'#RRGGBB'`` of what is no anomaly."""

    @property
    def threshold(self) -> float:
        """Probability from which an image is called anomalous."""

    def opened(self, *, threads: int = 1) -> Judge:
        """Sessions, and what judges images with them."""


@dataclass(frozen=True)
class Model:
    """Everything a predictor needs, without sessions."""

    width: int
    height: int
    anomaly_types: tuple[tuple[str, str], ...]
    background_color: str
    views: Mapping[str, View]
    graphs: Mapping[str, bytes]
    aligner: Aligner | None
    ensemble: Ensemble
    refiner: Refiner | None
    """Second pass of the pixel network; None for classification."""
    calibration: Calibration
    threshold: float
    backbone: BroughtBackbone | None = None
    """A user's own, where it helps."""
    network: Network | None = None
    """Trained with torch, where it helps."""
    regions: Regions | None = None
    """What is too small to be said; None says everything."""

    def observer(self, *, threads: int = 1) -> Observer:
        """Sessions for the model's views."""
        uses_position = self.ensemble.experts.positional is not None
        return Observer(
            self.views,
            self.aligner,
            graphs=self.graphs,
            backbone=None if self.backbone is None else self.backbone.viewer(threads=threads),
            with_maps=uses_position,
            threads=threads,
        )

    def opened(self, *, threads: int = 1) -> Judge:
        """Sessions, and what judges images with them."""
        network = None if self.network is None else self.network.opened(threads=threads)
        return partial(self.judge, observer=self.observer(threads=threads), network=network)

    def judge(
        self, decoded: Decoded, observer: Observer, network: Backbone | None = None
    ) -> Judgement:
        """Judge one image.

        :param decoded: gives its pixels, uint8 [height, width, 3], at a (width, height).
        :param network: the session of the model's network, if it has one.
        """
        pixels = decoded(observer.decode_size)
        output: NDArray[np.float32] | None = None
        if self.network is not None and network is not None:
            same = self.network.size == observer.decode_size
            output = network(pixels if same else decoded(self.network.size))
        evidence: Evidence = observer(pixels)
        brought: NDArray[np.float32] | None = None
        if observer.backbone is not None:
            brought = observer.backbone(decoded(observer.backbone.view.size))
            seen = {**evidence.descriptions, BROUGHT: describe(brought)}
            evidence = replace(evidence, descriptions=seen)
        painted: NDArray[np.float32] | None = None
        if self.anomaly_types:
            maps = observer.features(PIXELS, pixels)
            painter = None if self.backbone is None else self.backbone.painter
            if painter is not None and brought is not None:
                logits, projected = painter(maps, brought)
            else:
                logits, projected = np.split(maps, [len(self.anomaly_types) + 1])
            painted = logits if self.refiner is None else self.refiner(projected, logits)
            if self.network is not None and output is not None:
                painted = self.network.paint(painted, output)
            evidence = replace(evidence, pixel_summary=summarise(logits))
        score = float(self.ensemble([evidence])[0])
        if self.network is not None and output is not None:
            score = self.network.score(score, output)
        probability = float(self.calibration(score))
        if painted is None:
            return Judgement(probability, None)
        if self.regions is not None:
            painted = self.regions(painted, is_anomalous=probability >= self.threshold)
        return Judgement(probability, classes_at(painted, (self.width, self.height)))

    def to_contents(self) -> Contents:
        """What the artifact stores."""
        arrays = self.ensemble.to_arrays()
        if self.refiner is not None:
            arrays |= self.refiner.to_arrays()
        if self.aligner is not None:
            arrays |= self.aligner.to_arrays("aligner")
        graphs = dict(self.graphs)
        description: dict[str, Any] = {
            "width": self.width,
            "height": self.height,
            "anomaly_types": [list(pair) for pair in self.anomaly_types],
            "background_color": self.background_color,
            "views": {name: view.to_json() for name, view in self.views.items()},
            "ensemble": self.ensemble.to_json(),
            "calibration": self.calibration.to_json(),
            "threshold": self.threshold,
        }
        if self.regions is not None:
            description["regions"] = self.regions.to_json()
        if self.backbone is not None:
            arrays |= self.backbone.to_arrays()
            description[BROUGHT] = self.backbone.view.to_json()
            graphs[BROUGHT] = self.backbone.graph
        if self.network is not None:
            description[NETWORK] = self.network.to_json()
            graphs[NETWORK] = self.network.graph
        return Contents(description, arrays, graphs)

    @classmethod
    def from_contents(cls, contents: Contents) -> Model:
        """Inverse of :meth:`to_contents`; any error of lookup or conversion means damage."""
        description, arrays = contents.model, contents.arrays
        views = {str(n): View.from_json(v) for n, v in description["views"].items()}
        missing = views.keys() - contents.graphs.keys()
        if missing:
            raise KeyError(f"{min(missing)}.onnx")
        for name in views:
            inspect_stored(contents.graphs[name])
        backbone = BroughtBackbone.from_contents(contents)
        types = tuple((str(n), str(c)) for n, c in description["anomaly_types"])
        if types and PIXELS not in views:
            raise KeyError(PIXELS)
        ensemble = Ensemble.from_stored(description["ensemble"], arrays)
        known = views.keys() | (set() if backbone is None else {BROUGHT})
        if not len(ensemble.experts) or not set(ensemble.views) <= known:
            raise KeyError("experts without their views")
        known_regions = "regions" in description  # artifacts of earlier versions have none
        aligned = "aligner.template" in arrays and OVERVIEW in views
        return cls(
            width=int(description["width"]),
            height=int(description["height"]),
            anomaly_types=types,
            background_color=str(description["background_color"]),
            views=views,
            graphs={name: contents.graphs[name] for name in views},
            aligner=Aligner.from_arrays(arrays, "aligner") if aligned else None,
            ensemble=ensemble,
            refiner=Refiner.from_arrays(arrays) if types else None,
            calibration=Calibration.from_json(description["calibration"]),
            threshold=float(description["threshold"]),
            backbone=backbone,
            network=Network.from_contents(contents, len(types) + 1 if types else 0),
            regions=Regions.from_json(description["regions"]) if types and known_regions else None,
        )
