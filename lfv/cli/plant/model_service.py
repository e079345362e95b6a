"""Keeps the embedded model service running, so that no run has to wait for its start.

This process is a client of the service. When it ends, the service runs until its last client has
left.
"""

from __future__ import annotations

import time

from lfv.run.embedded_service import embedded_service, is_service_alive
from lfv.settings import get_settings

_LOOK_SECONDS = 1.0


def main() -> None:
    """Hold the service of this home folder, starting it again whenever it has ended."""
    settings = get_settings()
    while True:
        with embedded_service(settings):
            while is_service_alive(settings):
                time.sleep(_LOOK_SECONDS)
