"""Judges images with a trained model."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from threadpoolctl import ThreadpoolController

from lfv.engine import artifact
from lfv.engine.allocator import keep_freed_memory
from lfv.engine.decoding import Decoder, from_rgb888
from lfv.engine.errors import ArtifactError
from lfv.engine.heat_map import draw
from lfv.engine.pixel_head import class_shares
from lfv.engine.plugins import DETECTOR, detector_plugin
from lfv.engine.trained_model import Judgement, Model, TrainedModel
from lfv.formats.answers import BACKGROUND, Anomaly, DetectAnomalyResult
from lfv.formats.masks import parse_color


class Predictor:
    """A loaded model. Not thread-safe by contract; one per worker process."""

    def __init__(self, model: TrainedModel, *, threads: int = 1) -> None:
        keep_freed_memory()
        self._judge = model.open(threads=threads)
        self._threshold = model.threshold
        self._threads = threads
        self._sample_range = model.sample_range
        self._pools = ThreadpoolController()
        self.width = model.width
        self.height = model.height
        self.anomaly_types = model.anomaly_types
        self.background_color = model.background_color

    @classmethod
    def load(cls, artifact_folder: Path, *, threads: int = 1) -> Predictor:
        """Load what ``train`` wrote.

        Raises:
            ArtifactError: If the folder is damaged, tampered with or of an unknown version, or does
                not judge a grey image.
        """
        contents = artifact.load(Path(artifact_folder))
        try:
            model: TrainedModel
            if DETECTOR in contents.model:
                model = detector_plugin().from_contents(contents)
            else:
                model = Model.from_contents(contents)
            predictor = cls(model, threads=threads)
        except ArtifactError:
            raise
        except Exception as error:
            raise ArtifactError(f"The model's description is incomplete: {error!r}.") from error
        predictor._try_out()
        return predictor

    def _try_out(self) -> None:
        """Raise ArtifactError if the model fails on a test image, or its answer is invalid."""

        def grey(size: tuple[int, int]) -> NDArray[np.uint8]:
            return np.full((size[1], size[0], 3), 128, dtype=np.uint8)

        try:
            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                prediction = self._answer(self._judge(grey))
        except Exception as error:
            raise ArtifactError(f"The model fails on a grey image: {error!r}.") from error
        if not (0 < self._threshold < 1 and 0 <= prediction.confidence <= 1):
            raise ArtifactError("The model's answers have no confidence between 0 and 1.")

    def predict(self, body: bytes, *, with_map: bool = False) -> DetectAnomalyResult:
        """Judge one image.

        Args:
            body: A PNG or JPEG of the training images' dimensions.
            with_map: Whether to add a heat map, if the model has one.

        Raises:
            ImageRejected: If it cannot be decoded or has other dimensions.
        """
        decoder = Decoder(body, expected=(self.width, self.height), sample_range=self._sample_range)
        return self._predict(decoder, with_map=with_map)

    def predict_pixels(self, pixels: bytes, width: int, height: int) -> DetectAnomalyResult:
        """Judge one image given as interleaved RGB pixels, three bytes each.

        Raises:
            ImageRejected: If its dimensions differ from those of the training images.
        """

        def decode(size: tuple[int, int]) -> NDArray[np.uint8]:
            return from_rgb888(pixels, width, height, size, expected=(self.width, self.height))

        return self._predict(decode)

    def _predict(
        self,
        pixels_at: Callable[[tuple[int, int]], NDArray[np.uint8]],
        *,
        with_map: bool = False,
    ) -> DetectAnomalyResult:
        # Otherwise BLAS would spin on every core for products that take a millisecond.
        with self._pools.limit(limits=self._threads, user_api="blas"):
            judgement = self._judge(pixels_at)
            answer = self._answer(judgement)
            if not with_map or judgement.heat is None:
                return answer
            size = self.width, self.height
            heat = draw(judgement.heat(), judgement.probability, size)
            return replace(answer, anomaly_map=heat)

    def _answer(self, judgement: Judgement) -> DetectAnomalyResult:
        probability = judgement.probability
        is_anomalous = probability >= self._threshold
        confidence = probability if is_anomalous else 1 - probability
        if judgement.classes is None:
            return DetectAnomalyResult(is_anomalous, confidence)
        return DetectAnomalyResult(
            is_anomalous,
            confidence,
            self._anomalies(judgement.classes),
            self._mask(judgement.classes),
        )

    def _anomalies(self, classes: NDArray[np.uint8]) -> tuple[Anomaly, ...]:
        shares = class_shares(classes, len(self.anomaly_types) + 1)
        found = [
            Anomaly(name, float(share), color)
            for (name, color), share in zip(self.anomaly_types, shares[1:], strict=True)
            if share > 0
        ]
        found.sort(key=lambda anomaly: -anomaly.total_percentage_area)
        return (Anomaly(BACKGROUND, float(shares[0]), self.background_color), *found)

    def _mask(self, classes: NDArray[np.uint8]) -> bytes:
        image = Image.fromarray(classes, "P")
        colors = [self.background_color, *(color for _, color in self.anomaly_types)]
        image.putpalette([value for color in colors for value in parse_color(color)])
        buffer = io.BytesIO()
        image.save(buffer, "PNG", compress_level=1)
        return buffer.getvalue()


def load(artifact_folder: Path, *, threads: int = 1) -> Predictor:
    """Load a model that ``train`` wrote; the same as :meth:`Predictor.load`."""
    return Predictor.load(artifact_folder, threads=threads)
