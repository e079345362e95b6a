"""Places where a model can live, behind one small interface."""

from lfv_client.hosts.lookoutvision import LookoutVisionHost
from lfv_client.hosts.opening import open_host, register_host_kind, unregister_host_kind
from lfv_client.hosts.protocol import (
    Detection,
    HostFactory,
    HostSpec,
    ModelHost,
    ModelState,
    ModelStatus,
    Units,
)

__all__ = [
    "Detection",
    "HostFactory",
    "HostSpec",
    "LookoutVisionHost",
    "ModelHost",
    "ModelState",
    "ModelStatus",
    "Units",
    "open_host",
    "register_host_kind",
    "unregister_host_kind",
]
