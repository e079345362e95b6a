"""The hosts for the suite of common behaviours.

Each is a stand-in with one host's protocol, scripted like `standin`; the names of operations
(StartModel, StopModel, DetectAnomalies, DescribeModel) stand for the host's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from lfv.client.hosts import HostSpec
from tests.support.endpoints import Endpoint, endpoint_in_thread
from tests.support.waiting import PLENTY

#: Seconds that a scripted "hang" or "lost" lasts: longer than an impatient host waits.
HANG_SECONDS = 2.0
_IMPATIENT = {"control_timeout": 1.5, "read_timeout": 1.5}
_PATIENT = {"control_timeout": PLENTY, "read_timeout": PLENTY}


@dataclass(frozen=True)
class Place:
    """A stand-in, the spec of its one model, and that of an unknown model.

    A host from `impatient` has short timeouts. One from `spec` waits, so that a busy machine does
    not make it repeat a call.
    """

    kind: str
    endpoint: Endpoint
    spec: HostSpec
    unknown: HostSpec

    @property
    def impatient(self) -> HostSpec:
        """The same model with short timeouts."""
        return replace(self.spec, options={**self.spec.options, **_IMPATIENT})


@contextmanager
def lookoutvision_place() -> Iterator[Place]:
    """The Lookout for Vision API."""
    with endpoint_in_thread() as endpoint:

        def spec(project: str) -> HostSpec:
            return HostSpec("lookoutvision", project, "1", endpoint.url, "us-east-1", _PATIENT)

        yield Place("lookoutvision", endpoint, spec("parts"), spec("no-such-project"))


@contextmanager
def sagemaker_place() -> Iterator[Place]:
    """SageMaker, with a training job that is not packaged yet."""
    with endpoint_in_thread("sagemaker") as endpoint:
        options = {**_PATIENT, **endpoint.options}

        def spec(project: str) -> HostSpec:
            return HostSpec("sagemaker", project, "latest", endpoint.url, "us-east-1", options)

        yield Place("sagemaker", endpoint, spec("parts"), spec("no-such-project"))


@contextmanager
def edge_place(*, shared_memory: bool = False) -> Iterator[Place]:
    """An edge agent, with pixels in its messages or in shared memory."""
    with endpoint_in_thread("edge") as endpoint:
        options = {**_PATIENT, "shared_memory": shared_memory}

        def spec(project: str) -> HostSpec:
            return HostSpec("edge", project, "latest", endpoint.address, None, options)

        yield Place("edge", endpoint, spec("parts"), spec("no-such-project"))


PLACES: dict[str, Callable[[], object]] = {
    "lookoutvision": lookoutvision_place,
    "sagemaker": sagemaker_place,
    "edge": edge_place,
}
