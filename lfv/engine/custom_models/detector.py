"""A user's detector as a model: its score becomes a probability, its map a mask."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lfv.engine.artifact import Contents
from lfv.engine.custom_models.runner import CustomView, Matrix, OnnxRunner
from lfv.engine.learners import squash
from lfv.engine.metrics import Floats
from lfv.engine.onnx_safety import check_stored
from lfv.engine.plugins import DETECTOR
from lfv.engine.trained_model import Decode, Judge, Judgement, TrainedModel


@dataclass(frozen=True)
class Reading:
    """The output of a detector for one image."""

    #: Rises with anomaly, on the detector's own scale.
    score: float
    #: [rows, columns], on the same scale.
    map: Matrix | None


@dataclass(frozen=True)
class Scale:
    """Converts scores to robust deviations from the normal median, compressed far out."""

    centre: float
    spread: float

    def __call__(self, scores: Floats) -> Floats:
        """Map [images] to [images], preserving their order."""
        return squash((scores - self.centre) / self.spread)


@dataclass(frozen=True, kw_only=True)
class Detector(TrainedModel):
    """A detector, calibrated on a project's images. Its map paints one anomaly type at most."""

    view: CustomView
    onnx_model: bytes
    scale: Scale
    #: Value of the map from which a pixel is called anomalous.
    level: float

    def open(self, *, threads: int = 1) -> Judge:
        """Open a session, and return a function that judges images with it."""
        read = open_reader(self.view, self.onnx_model, threads=threads)

        def judge(decode: Decode) -> Judgement:
            reading = read(decode(self.view.size))
            probability = float(self.calibration(self.scale(np.array([reading.score])))[0])
            classes = None
            if self.anomaly_types and reading.map is not None:
                classes = paint(reading.map, self.level, (self.width, self.height))
            found = reading.map
            return Judgement(probability, classes, None if found is None else lambda: found)

        return judge

    def to_contents(self) -> Contents:
        """Return what the artifact stores."""
        description = self.common_entries() | {
            DETECTOR: self.view.to_json(),
            "scale": [self.scale.centre, self.scale.spread],
            "level": self.level,
        }
        return Contents(description, {}, {DETECTOR: self.onnx_model})

    @classmethod
    def from_contents(cls, contents: Contents) -> Detector:
        """Inverse of :meth:`to_contents`; any error of lookup or conversion means damage.

        Raises:
            ArtifactError: If the ONNX model is refused.
        """
        description = contents.model
        onnx_model = contents.onnx_models[DETECTOR]
        check_stored(onnx_model)
        view = CustomView.from_json(description[DETECTOR])
        if len(view.outputs) != 2:
            raise ValueError("a detector has a score and a map")
        centre, spread = description["scale"]
        common = cls.common_fields(description)
        types = common["anomaly_types"]
        if len(types) > 1 or (types and not view.outputs[1]):
            raise ValueError("a detector cannot paint these anomaly types")
        return cls(
            **common,
            view=view,
            onnx_model=onnx_model,
            scale=Scale(float(centre), float(spread)),
            level=float(description["level"]),
        )


def open_reader(
    view: CustomView, onnx_model: bytes, *, threads: int = 1
) -> Callable[[NDArray[np.uint8]], Reading]:
    """Open a session, and return a function that runs it on images of the view's size."""
    run = OnnxRunner(onnx_model, view.source, threads=threads)
    names = [name for name in view.outputs if name]
    score_name, map_name = view.outputs

    def read(pixels: NDArray[np.uint8]) -> Reading:
        values = dict(zip(names, run(pixels, names), strict=True))
        found = None
        if map_name:
            found = values[map_name].reshape(view.rows, view.columns)
        # Without a score, the highest value of the map is the score.
        score = values[score_name] if score_name else np.max(values[map_name])
        return Reading(float(np.ravel(score)[0]), found)

    return read


def paint(found: Matrix, level: float, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return the class of every pixel at ``size`` (width, height): 1 from ``level`` on."""
    scaled = np.asarray(Image.fromarray(found).resize(size, Image.Resampling.BILINEAR))
    classes: NDArray[np.uint8] = (scaled >= level).astype(np.uint8)
    return classes
