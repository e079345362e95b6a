"""Checks whether Dask workers, which may be on other machines, can share a run.

The process that holds the model submits batches (`lfv.run.feed`) and receives the result of each.
Workers attach to the run by `lfv.run.attachments`, so a worker only works for a run while its model
is held.
"""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

from lfv.formats.loopback import is_local_name
from lfv.run.errors import NotSpreadable
from lfv.settings import Settings

_CONNECT_SECONDS = 5.0


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

    Raises:
        NotSpreadable: The scheduler does not answer.
    """
    address = urlsplit(settings.dask_address or "")
    try:
        socket.create_connection(
            (address.hostname or "", address.port or 8786), timeout=_CONNECT_SECONDS
        ).close()
    except (OSError, ValueError) as error:
        raise NotSpreadable(
            f"no Dask scheduler answers at {settings.dask_address} ({error}); start one with: "
            "dask scheduler"
        ) from None
