"""Checks manifest lines and their images, without the model.

A line that cannot be inspected, or whose image this model version has already judged, becomes an
inspection immediately. The others become pending items.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Event

from lfv.client.clock import Backoff
from lfv.client.hosts import image_limits
from lfv.client.retry import RetryPolicy, call_with_retries
from lfv.client.sources import SourceReader
from lfv.formats.errors import CredentialsRefused, ImageError, SourceError
from lfv.formats.images import CONVERTED_FROM, ImageInfo, ImageLimits, check_image
from lfv.formats.manifest.records import BadLine, ManifestItem
from lfv.run import inspection_records
from lfv.run.active import ActiveRun
from lfv.run.errors import SourceOutOfReach
from lfv.run.new_images import NewObject, claims_of
from lfv_store import KnownDetection, PendingItem

#: Retries for images whose storage does not answer.
_IMAGE_RETRIES = RetryPolicy(attempts=4, backoff=Backoff(first=0.7, factor=3.0, longest=6.0))
_THREADS = 8

Checked = ImageInfo | ImageError | SourceError


def plan_lines(
    run: ActiveRun,
    lines: Sequence[ManifestItem | BadLine],
    objects: Sequence[NewObject] | None = None,
) -> None:
    """Check the images of `lines` and commit the result for each.

    In a run on new images, `objects` are the lines' objects. The run claims them, and skips lines
    whose object another run has claimed.

    Raises `SourceOutOfReach` if no image can be reached; the run can then be resumed.
    """
    context = run.context
    items = [line for line in lines if isinstance(line, ManifestItem)]
    stop, expected = run.control.stop, context.expected_size
    limits = image_limits(context.image_taker)
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="check") as pool:
        checked = list(
            pool.map(lambda item: _check(item, run.reader, limits, expected, stop), items)
        )
    _refuse_dead_source([outcome for outcome, _ in checked])
    claims = None
    if objects is not None:
        numbers = [item.line_number for item in items]
        outcomes_by_line = dict(zip(numbers, (outcome for outcome, _ in checked), strict=True))
        digests = dict(zip(numbers, (digest for _, digest in checked), strict=True))
        claims = claims_of(objects, outcomes_by_line, digests, run.reader)
    known = _known(run, [outcome for outcome, _ in checked])
    policy = context.parsed_policy()
    ask: list[PendingItem] = []
    done = [inspection_records.record_bad_line(line) for line in lines if isinstance(line, BadLine)]
    for line, (outcome, _) in zip(items, checked, strict=True):
        item = _with_conversion(line, outcome)
        if not isinstance(outcome, ImageInfo):
            done.append(inspection_records.record_unreadable(item, outcome))
        elif outcome.sha256 in known:
            pending = inspection_records.to_pending(item, outcome)
            done.append(inspection_records.record_answer(pending, known[outcome.sha256], policy))
        else:
            ask.append(inspection_records.to_pending(item, outcome))
    through_line = max(line.line_number for line in lines)
    run.store.inspections.plan(
        run.run_id, pending=ask, done=done, through_line=through_line, claims=claims
    )


def _with_conversion(item: ManifestItem, outcome: Checked) -> ManifestItem:
    """Add the format that the image was converted from to the item's attributes."""
    if not isinstance(outcome, ImageInfo) or outcome.converted_from is None:
        return item
    return replace(item, attributes={**item.attributes, CONVERTED_FROM: outcome.converted_from})


def _check(
    item: ManifestItem,
    reader: SourceReader,
    limits: ImageLimits,
    expected: tuple[int, int] | None,
    stop: Event,
) -> tuple[Checked, str]:
    """Return the image's facts or the error, and its SHA-256 in hex ('' if unreadable)."""
    digest = ""
    try:
        (body, converted_from), _ = call_with_retries(
            lambda: reader.read_image(item.source_ref), _IMAGE_RETRIES, stop_event=stop
        )
        digest = hashlib.sha256(body).hexdigest()
        return replace(check_image(body, limits, expected), converted_from=converted_from), digest
    except (ImageError, SourceError) as error:
        return error, digest


def _refuse_dead_source(checked: Sequence[Checked]) -> None:
    """Raise SourceOutOfReach where the failures are not the images' own."""
    refused = next((one for one in checked if isinstance(one, CredentialsRefused)), None)
    if refused is not None:
        raise SourceOutOfReach(f"{refused} Then continue with --resume.")
    unavailable = [
        outcome for outcome in checked if isinstance(outcome, SourceError) and outcome.retryable
    ]
    if unavailable and len(unavailable) == len(checked):
        raise SourceOutOfReach(
            f"{unavailable[0]} Resume the run with --resume once the source is reachable."
        )


def _known(run: ActiveRun, checked: Sequence[Checked]) -> dict[str, KnownDetection]:
    if run.context.request.again:
        return {}
    digests = {outcome.sha256 for outcome in checked if isinstance(outcome, ImageInfo)}
    return run.store.inspections.known_detections(run.context.model_id, sorted(digests))
