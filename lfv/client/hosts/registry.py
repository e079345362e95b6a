"""Open the host of a specification. Lists every kind of host."""

from __future__ import annotations

from lfv.client.errors import HostKindUnknown
from lfv.client.hosts.lookoutvision import LookoutVisionHost
from lfv.client.hosts.protocol import HostFactory, HostSpec, ModelHost
from lfv.client.hosts.sagemaker import IMAGE_LIMITS, SageMakerHost
from lfv.client.hosts.sagemaker.batch import BatchJobHost
from lfv.formats.host_kinds import BATCH_JOB, EDGE, LOOKOUTVISION, SAGEMAKER
from lfv.formats.images import DEFAULT_LIMITS, ImageLimits


def _edge_agent(spec: HostSpec) -> ModelHost:
    from lfv.client.hosts.edge import EdgeAgentHost  # protobuf's import takes 20 ms

    return EdgeAgentHost(spec)


_KINDS: dict[str, HostFactory] = {
    LOOKOUTVISION: LookoutVisionHost,
    SAGEMAKER: SageMakerHost,
    BATCH_JOB: BatchJobHost,
    EDGE: _edge_agent,
}
_IMAGE_LIMITS = {SAGEMAKER: IMAGE_LIMITS}


def open_host(spec: HostSpec) -> ModelHost:
    """Open the host for `spec`; the caller closes it. Raises HostKindUnknown, HostError."""
    factory = _KINDS.get(spec.kind)
    if factory is None:
        known = ", ".join(sorted(_KINDS))
        raise HostKindUnknown(f"{spec.kind!r} is not a kind of host; the kinds are {known}.")
    return factory(spec)


def image_limits(kind: str) -> ImageLimits:
    """Return the limits of images on a kind of host."""
    return _IMAGE_LIMITS.get(kind, DEFAULT_LIMITS)
