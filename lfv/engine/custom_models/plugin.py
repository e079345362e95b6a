"""Implements the engine's plugins for users' ONNX files."""

from __future__ import annotations

from lfv.engine.custom_models.backbone import CustomBackbone
from lfv.engine.custom_models.detector import Detector
from lfv.engine.custom_models.recalibration import recalibrate
from lfv.engine.plugins import BackbonePlugin, DetectorPlugin


class _Detectors:
    recalibrate = staticmethod(recalibrate)
    from_contents = staticmethod(Detector.from_contents)


BACKBONES: BackbonePlugin = CustomBackbone
DETECTORS: DetectorPlugin = _Detectors()
