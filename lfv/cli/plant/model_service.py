"""Keeps the service of the models up, so that no run has to wait until it has started.

This process is one more user of the service. When it ends, the service stays until the last run
has stopped its model.
"""

from __future__ import annotations

import time

from lfv.run.embedded_service import embedded_service, is_service_alive
from lfv.settings import get_settings

_LOOK_SECONDS = 1.0


def main() -> None:
    """Use the service of this home folder, and start it whenever there is none."""
    settings = get_settings()
    while True:
        with embedded_service(settings, training=True):
            while is_service_alive(settings):
                time.sleep(_LOOK_SECONDS)
