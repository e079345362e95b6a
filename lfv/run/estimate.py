"""Estimates the time and cost of an inspection before its model is started."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import ceil

from lfv.client.hosts import image_limits
from lfv.client.manifests import read_manifest
from lfv.client.sources import SourceReader
from lfv.formats.errors import ImageError, SourceError
from lfv.formats.images import ImageLimits, check_image
from lfv.formats.manifest.records import BadLine, ManifestItem
from lfv.formats.words import count_of
from lfv.run.active import ActiveRun
from lfv.run.embedded_service import is_embedded
from lfv.run.models.approvals import find_model
from lfv.settings import Settings
from lfv_store import Model, Store

#: How many images of a source are read; the others are only counted.
SAMPLE = 200
#: Images per second for which one machine is enough. One process saturates two cores at 579,
#: measured with small images and no other load (`fast` in benchmarks/detection-results.json); half
#: of that leaves room for larger images, Prefect and the database.
MACHINE_IMAGES_PER_SECOND = 290
_CHECKS_AT_A_TIME = 8
_UNITS_SHOWN = (1, 2, 4, 8)


@dataclass(frozen=True)
class Pace:
    """Images per second of one inference unit, and where the figure comes from."""

    images_per_second: float
    basis: str


@dataclass(frozen=True)
class SourceFacts:
    """A source's lines, and what a sample of its images is like.

    Attributes:
        lines: Number of lines, or of images in a folder.
        bad_lines: Lines that cannot be read.
        sampled: Images that were read.
        unusable: Sampled images that cannot be inspected.
        known: Sampled images that this model has answered before, or that repeat another.
        average_bytes: Mean size of the sampled images.
        seconds_per_image: Time to read and check an image, several at a time.
    """

    lines: int
    bad_lines: int
    sampled: int
    unusable: int
    known: int
    average_bytes: float
    seconds_per_image: float

    @property
    def images(self) -> int:
        """Estimated number of images that need an answer of the model."""
        listed = self.lines - self.bad_lines
        if not self.sampled:
            return listed
        return round(listed * (self.sampled - self.unusable - self.known) / self.sampled)


@dataclass(frozen=True)
class Option:
    """The run at a number of inference units; times in seconds, `cost` in US dollars."""

    units: int
    detection_seconds: float
    total_seconds: float
    cost: float
    machines: int


@dataclass(frozen=True)
class Estimate:
    """The estimate for an inspection. `options` is empty if the model's pace is unknown."""

    source: SourceFacts
    model_version: str | None
    price_per_unit_hour: float
    pace: Pace | None
    checking_seconds: float
    starting_seconds: float | None
    options: tuple[Option, ...]


def estimate(
    store: Store | None,
    reader: SourceReader,
    settings: Settings,
    *,
    source: str,
    project: str,
    model_version: str = "latest",
    units: int | None = None,
    images_per_second: float | None = None,
    again: bool = False,
) -> Estimate:
    """Estimate an inspection of `source`, without starting or calling anything.

    Args:
        store: The results database, if there is one.
        reader: Reads the source and its images.
        settings: Prices, and the kind of host.
        source: Manifest, folder or S3 prefix.
        project: Project of the model.
        model_version: Version of the model; 'latest' is the approved one, else the last used.
        units: Inference units; None for 1, 2, 4 and 8.
        images_per_second: Pace of one unit, in place of that of earlier runs.
        again: Whether images that the model has answered before are inspected again.

    Raises:
        LfvError: The source cannot be read.
    """
    model = None if store is None else find_model(store, project, model_version, settings.host)
    answers = None if again else store
    facts = inspect_source(source, reader, answers, model, image_limits(settings.host))
    if images_per_second is not None:
        pace: Pace | None = Pace(images_per_second, "as given")
    else:
        pace = None if store is None or model is None else known_pace(store, model.model_id)
    starting = (
        None if store is None or model is None else store.costs.starting_seconds(model.model_id)
    )
    price = settings.price_of(settings.host, embedded=is_embedded(settings))
    checking = (facts.lines - facts.bad_lines) * facts.seconds_per_image
    wanted = _UNITS_SHOWN if units is None else (units,)
    return Estimate(
        source=facts,
        model_version=None if model is None else model.key.model_version,
        price_per_unit_hour=price,
        pace=pace,
        checking_seconds=checking,
        starting_seconds=starting,
        options=()
        if pace is None
        else tuple(
            _option(number, facts.images, pace, price, checking, starting) for number in wanted
        ),
    )


def known_pace(store: Store, model_id: int) -> Pace | None:
    """Return the pace of a model; None without earlier runs.

    Uses the capacity that the last run found, or else the images and paid time of earlier runs (of
    other releases, or batch jobs), which stored no capacity.
    """
    found = store.models.pace(model_id)
    if found is not None:
        return Pace(
            found.images_per_second / found.inference_units,
            f"{count_of(found.in_flight, 'request')} in flight, {found.latency_ms:,.0f} ms each, "
            "in the last run",
        )
    history = store.costs.throughput(model_id)
    if history.unit_seconds <= 0:
        return None
    return Pace(
        history.images / history.unit_seconds,
        f"{count_of(history.images, 'image')} of earlier runs",
    )


def inspect_source(
    source: str,
    reader: SourceReader,
    store: Store | None,
    model: Model | None,
    limits: ImageLimits,
) -> SourceFacts:
    """Count the lines of a source, and read a sample of its images."""
    lines, bad_lines, sample = _sample(read_manifest(source, reader))
    started = time.monotonic()
    with ThreadPoolExecutor(_CHECKS_AT_A_TIME, thread_name_prefix="check") as pool:
        checked = list(pool.map(lambda item: _check(item, reader, limits), sample))
    seconds = time.monotonic() - started
    digests = [found[0] for found in checked if found is not None]
    distinct = sorted(set(digests))
    known = (
        0
        if store is None or model is None
        else store.inspections.count_known(model.model_id, distinct)
    )
    sizes = [found[1] for found in checked if found is not None]
    return SourceFacts(
        lines=lines,
        bad_lines=bad_lines,
        sampled=len(sample),
        unusable=len(sample) - len(digests),
        known=known + len(digests) - len(distinct),
        average_bytes=sum(sizes) / len(sizes) if sizes else 0.0,
        seconds_per_image=seconds / len(sample) if sample else 0.0,
    )


def _sample(
    records: Iterable[ManifestItem | BadLine],
) -> tuple[int, int, Sequence[ManifestItem]]:
    """Return (lines, bad lines, a uniform sample of up to `SAMPLE` items)."""
    chance = random.Random(0)  # noqa: S311 - the same source gives the same estimate
    lines = bad_lines = 0
    sample: list[ManifestItem] = []
    for record in records:
        lines += 1
        if isinstance(record, BadLine):
            bad_lines += 1
        elif len(sample) < SAMPLE:
            sample.append(record)
        elif (place := chance.randrange(lines - bad_lines)) < SAMPLE:
            sample[place] = record
    return lines, bad_lines, sample


def _check(item: ManifestItem, reader: SourceReader, limits: ImageLimits) -> tuple[str, int] | None:
    """Return SHA-256 and size in bytes of an image; None if it cannot be inspected."""
    try:
        body, _ = reader.read_image(item.source_ref)
        return check_image(body, limits, None).sha256, len(body)
    except (ImageError, SourceError):
        return None


def _option(
    units: int,
    images: int,
    pace: Pace,
    price: float,
    checking: float,
    starting: float | None,
) -> Option:
    rate = pace.images_per_second * units
    seconds = images / rate
    return Option(
        units=units,
        detection_seconds=seconds,
        total_seconds=checking + (starting or 0.0) + seconds if images else checking,
        cost=seconds / 3600 * price * units,
        machines=max(1, ceil(min(rate, images) / MACHINE_IMAGES_PER_SECOND)),
    )


def expected_cost(run: ActiveRun, images: int) -> str:
    """Describe images, expected time and cost in one line, from the pace of earlier runs."""
    units = run.context.units.minimum
    asked = f"{count_of(images, 'image')} to inspect with {count_of(units, 'inference unit')}"
    pace = known_pace(run.store, run.context.model_id)
    if pace is None:
        return f"{asked}; no earlier run shows how long that takes"
    seconds = images / (pace.images_per_second * units)
    price = run.context.unit_hour_price
    cost = f"{seconds / 3600 * price * units:.2f} USD" if price else "no charge by the hour"
    return f"{asked}; expected {seconds / 60:.1f} minutes hosted, {cost} (from {pace.basis})"
