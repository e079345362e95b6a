"""Where the API answers: at the address that was given, or a service on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lfv.settings import Settings


@contextmanager
def api_endpoint(settings: Settings, *, training: bool = False) -> Iterator[str]:
    """Address of the API while it is needed; starts the embedded service where none was given.

    `training` gives that service the backbone, detector or network of the settings.

    Raises `lfv.run.errors.ServiceNotStarted`.
    """
    if settings.endpoint_url is not None:
        yield settings.endpoint_url
        return
    from lfv.run.embedded_service import embedded_service

    with embedded_service(settings, training=training) as endpoint_url:
        yield endpoint_url
