"""The kinds of host for a model, behind one small interface."""

from lfv.client.hosts.lookoutvision import LookoutVisionHost
from lfv.client.hosts.protocol import Detection, HostFactory, HostSpec, ModelHost, ModelState, Units
from lfv.client.hosts.registry import image_limits, open_host
from lfv.client.hosts.sagemaker import SageMakerHost
from lfv.formats.status import ModelStatus

__all__ = [
    "Detection",
    "HostFactory",
    "HostSpec",
    "LookoutVisionHost",
    "ModelHost",
    "ModelState",
    "ModelStatus",
    "SageMakerHost",
    "Units",
    "image_limits",
    "open_host",
]
