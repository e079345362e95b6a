"""Checks whether Dask workers, which may be on other machines, can share a run, and sets them up.

The process that holds the model submits batches (`feed`) and receives the result of each. Workers
attach to the run (`attachments`), so a worker only works for a run while its model is held.
"""

from __future__ import annotations

import socket
import sys
from urllib.parse import urlsplit

from lfv.formats.loopback import is_local_name
from lfv.run.errors import NotSpreadable
from lfv.settings import Settings

_CONNECT_SECONDS = 5.0
#: How long a busy scheduler may take to greet.
GREETING_SECONDS = 20.0


def check_spreadable(settings: Settings, *, embedded: bool) -> None:
    """Make sure that processes on other machines can share a run.

    Args:
        settings: Names the Dask scheduler.
        embedded: Whether the model is in the embedded service.

    Raises:
        NotSpreadable: Those processes cannot reach the database or the model.
    """
    if settings.store_file is not None:
        raise NotSpreadable(
            "Dask workers need a database that several machines can write to; set "
            "LFV_DATABASE_URL to a PostgreSQL database"
        )
    address = settings.dask_address or ""
    if embedded and not is_local_name(urlsplit(address).hostname or ""):
        raise NotSpreadable(
            f"the Dask workers of {address} may run on machines that cannot reach the embedded "
            "service; name one that all of them can reach with --endpoint-url"
        )


def check_scheduler(settings: Settings) -> None:
    """Make sure that the Dask scheduler of the settings answers.

    Dask itself would wait without a time limit for one that accepts connections and hangs.

    Raises:
        NotSpreadable: The scheduler does not answer.
    """
    address = urlsplit(settings.dask_address or "")
    try:
        place = (address.hostname or "", address.port or 8786)
        with socket.create_connection(place, timeout=_CONNECT_SECONDS) as connection:
            connection.settimeout(GREETING_SECONDS)
            # A scheduler sends its greeting first, unless the connection is encrypted.
            if address.scheme == "tcp" and not connection.recv(1):
                raise ConnectionError("the connection was closed")
    except (OSError, ValueError) as error:
        raise NotSpreadable(
            f"no Dask scheduler answers at {settings.dask_address} ({error}); end one that hangs, "
            "and start one with: dask scheduler"
        ) from None


def stop_profiler() -> None:
    """Stop the profiler of this process if it is a Dask worker with Python 3.11.

    Every 10 ms it reads the frames of all threads. In Python 3.11, a garbage collection meanwhile
    can deadlock the process with a thread that starts or ends (python/cpython#106883). Dask itself
    leaves out its other profiler there (dask/distributed#8916).
    """
    if sys.version_info >= (3, 12) or "distributed.worker" not in sys.modules:
        return
    from distributed import get_worker

    try:
        worker = get_worker()
    except ValueError:  # not a worker
        return
    profiler = worker.periodic_callbacks.get("profile")
    if profiler is not None:
        worker.loop.add_callback(profiler.stop)
