"""Draws overlays of inspections from what is stored."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lfv.client.sources import SourceReader
from lfv.formats.answers import DetectAnomalyResult
from lfv.formats.errors import LfvError
from lfv.formats.fit import convert_as_recorded
from lfv.formats.images import CONVERTED_FROM
from lfv.report import OverlayFacts, ReportAnomaly, draw_overlay
from lfv_store import Store

_STEM_CHARACTERS = 60
#: Verdicts whose images are drawn by default.
_OF_INTEREST = frozenset({"reject", "review"})


@dataclass(frozen=True)
class Overlay:
    """An inspection's overlay: the file, or why there is none."""

    line_number: int
    source_ref: str
    file: Path | None
    error: str | None = None


def rows_to_draw(
    store: Store, run_id: str, *, verdict: str | None = None, lines: Iterable[int] = ()
) -> Iterator[dict[str, Any]]:
    """Yield the inspections of a run to draw, in manifest order.

    These are the given lines, else those with the verdict, else those rejected or to review.
    """
    wanted = frozenset(lines)
    verdicts = _OF_INTEREST if verdict is None else {verdict}
    for row in store.results.rows(run_id):
        if row["line_number"] in wanted if wanted else row["verdict"] in verdicts:
            yield row


def draw_overlays(
    store: Store,
    reader: SourceReader,
    rows: Iterable[Mapping[str, Any]],
    folder_of: Callable[[str], Path],
) -> Iterator[Overlay]:
    """Write the overlay of each inspection as a PNG into the folder of its run.

    For a missing or changed image, the result has the reason instead of a file. Raises
    OSError if the folder cannot be written.
    """
    for row in rows:
        line, ref = row["line_number"], row["source_ref"]
        try:
            picture = _draw(store, reader, row)
        except (_NotDrawable, LfvError) as error:
            yield Overlay(line, ref, None, str(error))
            continue
        folder = folder_of(row["run_id"])
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{line:07d}-{_stem(ref)}.png"
        file.write_bytes(picture)
        yield Overlay(line, ref, file)


class _NotDrawable(Exception):
    """There is nothing to draw; the message says why."""


def _draw(store: Store, reader: SourceReader, row: Mapping[str, Any]) -> bytes:
    detection = row["detection_id"]
    if detection is None or row["verdict"] is None:
        raise _NotDrawable(f"it was not inspected ({row['error_code']})")
    data = reader.read_bytes(row["source_ref"])
    data = convert_as_recorded(data, (row["attributes"] or {}).get(CONVERTED_FROM))
    if hashlib.sha256(data).hexdigest() != row["image_sha256"]:
        raise _NotDrawable("the image was changed since it was inspected")
    result = DetectAnomalyResult.from_response(store.results.response(detection))
    mask = store.results.mask(detection)
    facts = OverlayFacts(
        name=row["source_ref"].rpartition("/")[2] or row["source_ref"],
        verdict=row["verdict"],
        is_anomalous=result.is_anomalous,
        confidence=result.confidence,
        anomalies=[
            ReportAnomaly(one.name, one.total_percentage_area, one.color) for one in result.defects
        ],
        has_mask=mask is not None,
        heat_map=result.anomaly_map,
        mask_deleted=_deletion(store, detection) if mask is None else None,
    )
    picture = draw_overlay(data, mask, facts)
    if picture is None:
        raise _NotDrawable("the image cannot be decoded")
    return picture


def _deletion(store: Store, detection: int) -> str | None:
    """Describe when and by whom the mask of a detection was deleted."""
    deletion = store.prunings.deletion_of_mask(detection)
    if deletion is None:
        return None
    return f"the mask was deleted on {deletion.at:%Y-%m-%d} by {deletion.by}"


def _stem(source_ref: str) -> str:
    """Return the file name without its extension, safe in file names of all systems."""
    name = source_ref.rpartition("/")[2].rpartition(".")[0] or source_ref.rpartition("/")[2]
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name)[:_STEM_CHARACTERS].strip("._") or "image"
