"""A run in progress, as the process that has it open sees it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import cached_property

from lfv.client.hosts import ModelHost, image_limits, open_host
from lfv.client.in_flight import FIRST_PER_UNIT, ConcurrencyLimit, shared_limit
from lfv.client.sources import SourceReader
from lfv.formats.errors import ImageError, SourceChanged
from lfv.formats.fit import Fit
from lfv.run.context import RunContext
from lfv.run.control import Ending, RunControl
from lfv.run.detection.stream import DetectionStream
from lfv.settings import Settings
from lfv_store import PendingItem, Store


class ActiveRun:
    """A run with its open connections and its control, safe to use from many threads.

    Tasks take it as a parameter. It is not a dataclass, so that Prefect does not search it for
    futures on every call. Other processes receive its `context` and open connections of their own.
    """

    def __init__(
        self,
        context: RunContext,
        store: Store,
        reader: SourceReader,
        host: ModelHost,
        control: RunControl,
    ) -> None:
        self.context = context
        self.store = store
        self.reader = reader
        self.host = host
        self.control = control
        #: The stream shared by all batches of this process, while it is open.
        self.stream: DetectionStream | None = None

    @cached_property
    def limit(self) -> ConcurrencyLimit:
        """Permits for requests to the model, shared by all threads of this process."""
        return shared_limit(self.host.spec, self.context.ceiling, self._first_limit)

    @cached_property
    def reaches_its_model(self) -> bool:
        """Whether this process reaches the run's model, and not another one of the same name.

        Another region or account may have such a model. Raises HostError.
        """
        key, state = self.store.models.get(self.context.model_id).key, self.host.describe()
        return (state.model_arn, state.created_at) == (key.model_arn, key.created_at)

    def read_checked(self, item: PendingItem) -> bytes:
        """Return the bytes of an image that was checked before. Raises SourceError's subclasses."""
        try:
            body, _ = self.reader.read_image(item.source_ref)
        except ImageError as error:
            raise SourceChanged(f"The image changed after it was checked: {error}") from error
        if hashlib.sha256(body).hexdigest() != item.image.sha256:
            raise SourceChanged("The image changed after it was checked.")
        return body

    def _first_limit(self) -> ConcurrencyLimit:
        """Start from the capacity that the model's last run found."""
        context, units = self.context, self.context.units.minimum
        pace = self.store.models.pace(context.model_id)
        sharing = context.sharing
        if pace is None:
            return ConcurrencyLimit(context.ceiling, FIRST_PER_UNIT * units, processes=sharing)
        first = round(pace.in_flight * units / pace.inference_units / sharing)
        return ConcurrencyLimit(context.ceiling, first, settled=True, processes=sharing)

    @property
    def run_id(self) -> str:
        return self.context.run_id

    @property
    def settings(self) -> Settings:
        return self.context.settings


@contextmanager
def open_run(context: RunContext, store: Store) -> Iterator[ActiveRun]:
    """Open what a run needs, and stop its threads on exit. The caller still owns `store`."""
    with ExitStack() as stack:
        reader = stack.enter_context(
            open_reader(context.settings, context.image_taker, context.fit)
        )
        host = stack.enter_context(closing(open_host(context.host_spec)))
        control = RunControl()
        stack.callback(control.end, Ending.INTERRUPTED)
        yield ActiveRun(context, store, reader, host, control)


def open_reader(
    settings: Settings, host: str | None = None, fit: Fit | None = None
) -> SourceReader:
    """Open a reader of manifests and images for a kind of host; by default that of the settings."""
    most = image_limits(host or settings.host).max_bytes if settings.reencode else None
    return SourceReader(
        settings.bucket_folders,
        settings.s3_endpoint_url,
        settings.region,
        convert=settings.convert,
        most_image_bytes=most,
        fit=fit,
    )
