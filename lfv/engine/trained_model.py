"""The trained model: computes a score and, with masks, a class per pixel of an image."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lfv.engine.alignment import Aligner
from lfv.engine.artifact import Contents, read_sample_range
from lfv.engine.backbone import Backbone, MapExtractor, Painter
from lfv.engine.calibration import Calibration
from lfv.engine.ensemble import BACKBONE, Ensemble
from lfv.engine.experts import PATCH_EXPERTS
from lfv.engine.heat_map import UsualCells
from lfv.engine.observations import OVERVIEW, PIXELS, Observation, Observer
from lfv.engine.onnx_safety import check_stored
from lfv.engine.patch_ridge import TappedPatches
from lfv.engine.patches import patches_of
from lfv.engine.pixel_head import classes_at, log_probabilities, summarise
from lfv.engine.plugins import NETWORK, Companion, RunningCompanion, backbone_plugin, network_plugin
from lfv.engine.pretrained.backbone import PretrainedBackbone
from lfv.engine.refinement import Refiner
from lfv.engine.regions import Regions
from lfv.engine.views import View

Matrix = NDArray[np.float32]
Decode = Callable[[tuple[int, int]], NDArray[np.uint8]]
#: Returns [rows, columns] that rise with anomaly.
Heat = Callable[[], Matrix]


@dataclass(frozen=True)
class Judgement:
    """The raw output for an image."""

    #: Calibrated probability of anomaly.
    probability: float
    #: [height, width] of the original image; None for a classification model.
    classes: NDArray[np.uint8] | None
    #: Computes the heat map on demand; None if the model has none.
    heat: Heat | None = None


Judge = Callable[[Decode], Judgement]


@dataclass(frozen=True, kw_only=True)
class TrainedModel(ABC):
    """What all kinds of models have in common, and all that a predictor needs of one."""

    #: Size of the images in pixels.
    width: int
    height: int
    #: (name, ``'#RRGGBB'``); empty for a classification model.
    anomaly_types: tuple[tuple[str, str], ...]
    #: ``'#RRGGBB'``.
    background_color: str
    #: 16-bit values mapped to black (0) and white (255); None for 8-bit images.
    sample_range: tuple[int, int] | None = None
    calibration: Calibration
    #: Probability from which an image is called anomalous.
    threshold: float

    @abstractmethod
    def open(self, *, threads: int = 1) -> Judge:
        """Open sessions, and return a function that judges images with them."""

    def common_entries(self) -> dict[str, Any]:
        """Return these fields as entries of the artifact's description."""
        entries = {
            "width": self.width,
            "height": self.height,
            "anomaly_types": [list(pair) for pair in self.anomaly_types],
            "background_color": self.background_color,
            "calibration": self.calibration.to_json(),
            "threshold": self.threshold,
        }
        if self.sample_range is not None:
            entries["sample_range"] = list(self.sample_range)
        return entries

    @staticmethod
    def common_fields(description: Mapping[str, Any]) -> dict[str, Any]:
        """Inverse of :meth:`common_entries`."""
        return {
            "width": int(description["width"]),
            "height": int(description["height"]),
            "anomaly_types": tuple((str(n), str(c)) for n, c in description["anomaly_types"]),
            "background_color": str(description["background_color"]),
            "sample_range": read_sample_range(description),
            "calibration": Calibration.from_json(description["calibration"]),
            "threshold": float(description["threshold"]),
        }


@dataclass(frozen=True)
class _Sessions:
    """The sessions of a model in one process."""

    observer: Observer
    backbone: MapExtractor | None
    network: RunningCompanion | None


@dataclass(frozen=True, kw_only=True)
class Model(TrainedModel):
    """Everything a predictor needs, without sessions."""

    views: Mapping[str, View]
    onnx_models: Mapping[str, bytes]
    aligner: Aligner | None
    ensemble: Ensemble
    #: Second pass of the pixel network; None for classification, or if it does not help.
    refiner: Refiner | None
    #: None if the model does not need one.
    backbone: Backbone | None = None
    #: The first pass of masks, if it uses the backbone's maps too.
    painter: Painter | None = None
    #: A network trained with torch, if it helps.
    network: Companion | None = None
    #: Which regions are too small to report; None reports all.
    regions: Regions | None = None
    #: Usual values of the backbone's features, for heat maps; None without a backbone.
    usual: UsualCells | None = None

    def observer(self, *, threads: int = 1) -> Observer:
        """Open sessions for the model's views."""
        uses_position = self.ensemble.experts.positional is not None
        return Observer(
            self.views,
            self.aligner,
            onnx_models=self.onnx_models,
            described_views=self.ensemble.experts.described_views,
            with_maps=uses_position,
            threads=threads,
        )

    def open(self, *, threads: int = 1) -> Judge:
        """Open sessions, and return a function that judges images with them."""
        sessions = _Sessions(
            self.observer(threads=threads),
            None if self.backbone is None else self.backbone.open(threads=threads),
            None if self.network is None else self.network.open(threads=threads),
        )
        return partial(self.judge, sessions=sessions)

    def judge(self, decode: Decode, sessions: _Sessions) -> Judgement:
        """Judge one image.

        Args:
            decode: Returns its pixels, uint8 [height, width, 3], at a (width, height).
            sessions: The sessions of this model.
        """
        observer = sessions.observer
        size = observer.decode_size if self.views else None
        pixels = None if size is None else decode(size)
        output: Matrix | None = None
        if self.network is not None and sessions.network is not None:
            same = pixels is not None and self.network.size == size
            output = sessions.network(
                pixels if same and pixels is not None else decode(self.network.size)
            )
        observation = Observation({}, None) if pixels is None else observer(pixels)
        maps: tuple[Matrix, ...] | None = None
        if self.backbone is not None and sessions.backbone is not None:
            maps = sessions.backbone(decode(sessions.backbone.size))
            if BACKBONE in self.ensemble.experts.described_views:
                descriptions = {**observation.descriptions, BACKBONE: self.backbone.describe(maps)}
                observation = replace(observation, descriptions=descriptions)
            if self._compares_patches:
                observation = replace(observation, patches=patches_of(maps))
            observation = replace(observation, unmixed=TappedPatches(maps))
        mask_logits: Matrix | None = None
        if self.anomaly_types and pixels is not None:
            features = observer.features(PIXELS, pixels)
            if self.painter is not None and maps is not None:
                logits, projected = self.painter(features, maps)
            else:
                logits, projected = np.split(features, [len(self.anomaly_types) + 1])
            mask_logits = logits if self.refiner is None else self.refiner(projected, logits)
            if self.network is not None and output is not None:
                mask_logits = self.network.paint(mask_logits, output)
            observation = replace(observation, pixel_summary=summarise(logits))
        score = float(self.ensemble([observation])[0])
        if self.network is not None and output is not None:
            score = self.network.score(score, output)
        probability = float(self.calibration(score))
        heat = self._heat(observation, maps, mask_logits)
        if mask_logits is None:
            return Judgement(probability, None, heat)
        if self.regions is not None:
            mask_logits = self.regions(mask_logits, is_anomalous=probability >= self.threshold)
        return Judgement(probability, classes_at(mask_logits, (self.width, self.height)), heat)

    @property
    def _compares_patches(self) -> bool:
        return any(expert.kind in PATCH_EXPERTS for expert in self.ensemble.experts)

    def _heat(
        self,
        observation: Observation,
        maps: tuple[Matrix, ...] | None,
        mask_logits: Matrix | None,
    ) -> Heat | None:
        """Return a function that computes the heat map by the best measure that the model has."""
        if mask_logits is not None:
            logits = mask_logits
            return lambda: 1 - np.exp(log_probabilities(logits)[0])
        if self.usual is not None and maps is not None:
            usual, backbone_maps = self.usual, maps
            return lambda: usual.distances(backbone_maps)
        position = self.ensemble.experts.positional
        if position is not None and observation.maps is not None:
            overview, head = observation.maps, position
            return lambda: head.distances(head.residuals(head.reduce(overview)))
        return None

    def to_contents(self) -> Contents:
        """Return what the artifact stores."""
        arrays = self.ensemble.to_arrays()
        if self.aligner is not None:
            arrays |= self.aligner.to_arrays("aligner")
        onnx_models = dict(self.onnx_models)
        description = self.common_entries() | {
            "views": {name: view.to_json() for name, view in self.views.items()},
            "ensemble": self.ensemble.to_json(),
        }
        if self.refiner is not None:
            arrays |= self.refiner.to_arrays()
        elif self.anomaly_types:
            description["refined"] = False
        if self.regions is not None:
            description["regions"] = self.regions.to_json()
        if self.backbone is not None:
            description[BACKBONE] = dict(self.backbone.to_json())
            if self.painter is not None:
                arrays |= self.painter.to_arrays()
            if self.usual is not None:
                arrays |= self.usual.to_arrays()
            onnx_models[BACKBONE] = self.backbone.onnx_model
        if self.network is not None:
            description[NETWORK] = self.network.to_json()
            onnx_models[NETWORK] = self.network.onnx_model
        return Contents(description, arrays, onnx_models)

    @classmethod
    def from_contents(cls, contents: Contents) -> Model:
        """Inverse of :meth:`to_contents`; any error of lookup or conversion means damage."""
        description, arrays = contents.model, contents.arrays
        views = {str(n): View.from_json(v) for n, v in description["views"].items()}
        missing = views.keys() - contents.onnx_models.keys()
        if missing:
            raise KeyError(f"{min(missing)}.onnx")
        for name in views:
            check_stored(contents.onnx_models[name])
        backbone = _load_backbone(contents)
        common = cls.common_fields(description)
        types = common["anomaly_types"]
        if types and PIXELS not in views:
            raise KeyError(PIXELS)
        network = None
        if NETWORK in description:
            network = network_plugin().from_contents(contents, len(types) + 1 if types else 0)
        ensemble = Ensemble.from_stored(description["ensemble"], arrays)
        known = views.keys() | (set() if backbone is None else {BACKBONE})
        if not len(ensemble.experts) or not set(ensemble.views) <= known:
            raise KeyError("experts without their views")
        refined = bool(description.get("refined", True))
        known_regions = "regions" in description  # artifacts of earlier versions have none
        aligned = "aligner.template" in arrays and OVERVIEW in views
        return cls(
            **common,
            views=views,
            onnx_models={name: contents.onnx_models[name] for name in views},
            aligner=Aligner.from_arrays(arrays, "aligner") if aligned else None,
            ensemble=ensemble,
            refiner=Refiner.from_arrays(arrays) if types and refined else None,
            backbone=backbone,
            painter=Painter.from_arrays(arrays) if backbone is not None else None,
            network=network,
            regions=Regions.from_json(description["regions"]) if types and known_regions else None,
            usual=UsualCells.from_arrays(arrays) if backbone is not None else None,
        )


def _load_backbone(contents: Contents) -> Backbone | None:
    stored: Any = contents.model.get(BACKBONE)
    if stored is None:
        return None
    if "pretrained" in stored:
        return PretrainedBackbone.from_contents(stored, contents.onnx_models[BACKBONE])
    return backbone_plugin().from_contents(contents)
