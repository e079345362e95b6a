"""Detects new images in a folder or prefix by polling.

Polling works on every file system and bucket. File system notifications do not cross a network, and
are lost while nobody listens.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from lfv.client.manifests.listing import IMAGE_ENDINGS, walk_folder
from lfv.client.sources import SourceReader
from lfv.client.stores import ObjectState
from lfv.formats.errors import SourceError
from lfv.formats.folder_layout import why_no_part
from lfv.formats.refs import S3Ref, parse_ref
from lfv_store import ObjectStamp


class Arrivals:
    """Tracks which images of a source are new or changed since they were last handled.

    `settle_seconds` is how long a file must be unchanged. Keys are those of the results database:
    the path below the folder or prefix.
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
        self._handled: dict[str, ObjectStamp] = {}
        self._seen: dict[str, ObjectStamp] = {}

    def look(self) -> Mapping[str, ObjectStamp]:
        """Return new and changed images. Raises SourceError if the source is unreadable."""
        now = self._clock()
        self._seen = {
            key: ObjectStamp(state.size_bytes, state.stamp)
            for key, state in self._states()
            if state.changed_at is None or abs(now - state.changed_at) >= self._settle_seconds
        }
        # Nothing is kept about deleted images, or a long watch would need ever more memory.
        self._handled = {key: stamp for key, stamp in self._handled.items() if key in self._seen}
        return {key: seen for key, seen in self._seen.items() if self._handled.get(key) != seen}

    def mark_handled(self, keys: Iterable[str]) -> None:
        """Note that these images, as they were at the last poll, need no other run."""
        self._handled |= {key: self._seen[key] for key in keys}

    def _states(self) -> Iterator[tuple[str, ObjectState]]:
        if isinstance(self._source, S3Ref):
            prefix = str(self._source)
            for ref, listed in self._reader.states(self._source).items():
                if _is_image(key := ref.removeprefix(prefix)):
                    yield key, listed
            return
        folder = Path(self._source.path)
        if not folder.is_dir():
            raise SourceError(f"{folder} is not a folder that can be read.", ref=str(folder))
        for path, error in walk_folder(folder):
            key = os.path.relpath(path, folder)
            if error is None and _is_image(key) and (state := self._reader.state(path)) is not None:
                yield key, state


def _is_image(key: str) -> bool:
    return Path(key).suffix.lower() in IMAGE_ENDINGS and why_no_part(key) is None
