"""Implements the engine's plugins for users' ONNX files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lfv.engine.artifact import Contents
from lfv.engine.custom_models.backbone import CustomBackbone
from lfv.engine.custom_models.detector import Detector
from lfv.engine.custom_models.recalibration import recalibrate
from lfv.engine.plugins import BackbonePlugin, DetectorPlugin
from lfv.engine.types import Progress, TrainingImage, TrainingOptions, TrainingOutcome


class _Backbones:
    def read(self, path: Path, limit: int, image: tuple[int, int]) -> CustomBackbone:
        return CustomBackbone.read(path, limit, image)

    def load(self, contents: Contents) -> CustomBackbone:
        return CustomBackbone.from_contents(contents)


class _Detectors:
    def recalibrate(
        self,
        train: Sequence[TrainingImage],
        test: Sequence[TrainingImage],
        output: Path,
        path: Path,
        options: TrainingOptions,
        progress: Progress,
    ) -> TrainingOutcome:
        return recalibrate(train, test, output, path, options, progress)

    def load(self, contents: Contents) -> Detector:
        return Detector.from_contents(contents)


BACKBONES: BackbonePlugin = _Backbones()
DETECTORS: DetectorPlugin = _Detectors()
