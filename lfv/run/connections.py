"""The connections of a run: its store, its model's host and what reads its images.

They are opened by the flow, once, and closed with it; all of them are safe to use from many
threads.  A task finds those of its run by the run's id; in a process that did not open them (a
task runner that spreads its work) it opens its own, which last as long as the process.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import lru_cache

from lfv.client.hosts import ModelHost, open_host
from lfv.client.sources import SourceReader
from lfv.run.context import RunContext
from lfv.settings import Settings
from lfv_store import Store, open_store


@dataclass(frozen=True)
class Connections:
    """What a run talks to."""

    store: Store
    reader: SourceReader
    host: ModelHost


_open: dict[str, Connections] = {}


def open_reader(settings: Settings) -> SourceReader:
    """What reads manifests and images."""
    return SourceReader(settings.bucket_folders, settings.s3_endpoint_url, settings.region)


@contextmanager
def connected(run: RunContext, store: Store) -> Iterator[Connections]:
    """Open the connections of a run that this process drives; `store` stays the caller's."""
    with ExitStack() as stack:
        reader = stack.enter_context(open_reader(run.settings))
        host = open_host(run.host_spec)
        stack.callback(host.close)
        found = _open[run.run_id] = Connections(store, reader, host)
        stack.callback(_open.pop, run.run_id, None)
        yield found


def connections_of(run: RunContext) -> Connections:
    """The connections of a run."""
    return _open.get(run.run_id) or _own_connections(run.run_id, run.host_spec.to_json(), run)


@lru_cache(maxsize=4)
def _own_connections(_run_id: str, _spec: str, run: RunContext) -> Connections:
    return Connections(
        open_store(run.settings.store_url), open_reader(run.settings), open_host(run.host_spec)
    )
