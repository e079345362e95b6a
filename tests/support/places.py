"""Places where a model can live, as the suite of behaviours needs them: all alike.

Each is a stand-in that speaks one host's protocol and is scripted like `standin`, whose names of
operations (StartModel, StopModel, DetectAnomalies, DescribeModel) stand for what the host calls
its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from lfv.client.hosts import HostSpec
from tests.support.endpoints import Endpoint, endpoint_in_thread

#: Seconds after which a host under test takes a call for lost.
CONTROL_TIMEOUT = 1.0
#: Seconds that a scripted "hang" or "lost" lasts: longer than a host waits.
HANG_SECONDS = 1.5


@dataclass(frozen=True)
class Place:
    """A stand-in, how its one model is reached, and a model that it does not know."""

    kind: str
    endpoint: Endpoint
    spec: HostSpec
    unknown: HostSpec


@contextmanager
def lookoutvision_place() -> Iterator[Place]:
    """The Lookout for Vision API."""
    with endpoint_in_thread() as endpoint:
        options = {"control_timeout": CONTROL_TIMEOUT, "read_timeout": CONTROL_TIMEOUT}

        def spec(project: str) -> HostSpec:
            return HostSpec("lookoutvision", project, "1", endpoint.url, "us-east-1", options)

        yield Place("lookoutvision", endpoint, spec("parts"), spec("no-such-project"))


@contextmanager
def sagemaker_place() -> Iterator[Place]:
    """SageMaker, with a training job that is not packaged yet."""
    with endpoint_in_thread("sagemaker") as endpoint:
        options = {
            "control_timeout": CONTROL_TIMEOUT,
            "read_timeout": CONTROL_TIMEOUT,
            **endpoint.options,
        }

        def spec(project: str) -> HostSpec:
            return HostSpec("sagemaker", project, "latest", endpoint.url, "us-east-1", options)

        yield Place("sagemaker", endpoint, spec("parts"), spec("no-such-project"))


@contextmanager
def edge_place(*, shared_memory: bool = False) -> Iterator[Place]:
    """An edge agent, with pixels in its messages or in shared memory."""
    with endpoint_in_thread("edge") as endpoint:
        options = {
            "control_timeout": CONTROL_TIMEOUT,
            "read_timeout": CONTROL_TIMEOUT,
            "shared_memory": shared_memory,
        }

        def spec(project: str) -> HostSpec:
            return HostSpec("edge", project, "latest", endpoint.address, None, options)

        yield Place("edge", endpoint, spec("parts"), spec("no-such-project"))


PLACES: dict[str, Callable[[], object]] = {
    "lookoutvision": lookoutvision_place,
    "sagemaker": sagemaker_place,
    "edge": edge_place,
}
