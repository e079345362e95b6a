"""The context of every job."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from lfv.server.buckets import Buckets
from lfv.server.database import Database, Transaction
from lfv.server.errors import UnwritableError
from lfv.server.home import Home
from lfv.server.options import Limits
from lfv.server.write_retries import record

T = TypeVar("T")


@dataclass(frozen=True)
class JobContext:
    database: Database
    buckets: Buckets
    home: Home
    limits: Limits
    #: For every training: ``backbone`` or ``detector`` and its file, or nothing.
    graphs: Mapping[str, Path] = field(default_factory=dict)
    #: Further options for every training, by the engine's names.
    training_options: Mapping[str, Any] = field(default_factory=dict)
    #: Unix seconds.
    clock: Callable[[], float] = time.time
    #: Set when the service ends. A job then keeps its state, and the next service continues it.
    stopping: threading.Event = field(default_factory=threading.Event)

    def record(
        self,
        write: Callable[[Transaction], T],
        what: str,
        *,
        give_up_on: type[UnwritableError] | None = None,
    ) -> T:
        """Call ``write`` in new transactions until one is committed, and return its result.

        Raises ServiceEndingError if the service ends first, and what ``write`` raises.
        """

        def attempt() -> T:
            with self.database.transaction() as tx:
                return write(tx)

        return record(attempt, what, self.stopping, give_up_on=give_up_on)
