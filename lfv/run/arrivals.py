"""Detects new images in a folder or prefix by polling.

Polling works on every file system and bucket. File system notifications do not cross a network, and
are lost while nobody listens.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

from lfv.client.manifests.listing import IMAGE_ENDINGS
from lfv.client.sources import SourceReader
from lfv.client.stores import ObjectState
from lfv.formats.errors import SourceError
from lfv.formats.refs import S3Ref, parse_ref

State = dict[str, tuple[int, str]]


class Arrivals:
    """Tracks which images of a source are new or changed since the last call of `handled`.

    `settle_seconds` is how long a file must be unchanged.
    """

    def __init__(
        self,
        source: str,
        reader: SourceReader,
        settle_seconds: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._source = parse_ref(source)
        self._reader = reader
        self._settle_seconds = settle_seconds
        self._clock = clock
        self._handled: State = {}
        self._seen: State = {}

    def look(self) -> int:
        """Count new and changed images. Raises SourceError if the source is unreadable."""
        now = self._clock()
        self._seen = {
            key: (state.size_bytes, state.stamp)
            for key, state in self._states()
            if state.changed_at is None or abs(now - state.changed_at) >= self._settle_seconds
        }
        return sum(self._handled.get(key) != state for key, state in self._seen.items())

    def handled(self) -> None:
        """Note that a run on new images was started after the last look."""
        self._handled = self._seen

    def _states(self) -> Iterator[tuple[str, ObjectState]]:
        if isinstance(self._source, S3Ref):
            listed: Iterator[tuple[str, ObjectState]] = iter(
                self._reader.states(self._source).items()
            )
            yield from (pair for pair in listed if _is_image(pair[0]))
            return
        folder = Path(self._source.path)
        if not folder.is_dir():
            raise SourceError(f"{folder} is not a folder that can be read.", ref=str(folder))
        for path in folder.rglob("*"):
            if _is_image(path.name) and (state := self._reader.state(str(path))) is not None:
                yield str(path), state


def _is_image(name: str) -> bool:
    return Path(name).suffix.lower() in IMAGE_ENDINGS
