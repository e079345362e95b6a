"""Cards: rows of inspections with what is needed to draw them on pages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lfv.formats.mistakes import Mistake, mistake_of
from lfv.formats.serials import split_serial
from lfv.report.reasons import plain_sentence
from lfv.report.run_values import ReportAnomaly
from lfv.run.pictures import fit_size
from lfv.ui.context import Ui
from lfv.ui.views.pictures import marks_address

_ATTRIBUTES = 8


@dataclass(frozen=True)
class Card:
    """One inspection with its picture; `marks` is None if the model marked nothing.

    `serial` is the name and value of the part's serial number, None if no attribute is one;
    `attributes` are the others.
    """

    row: Mapping[str, Any]
    name: str
    reasons: tuple[str, ...]
    anomalies: tuple[ReportAnomaly, ...]
    photo: str | None
    marks: str | None
    full_marks: str | None
    size: tuple[int, int]
    serial: tuple[str, object] | None
    attributes: tuple[tuple[str, object], ...]

    @property
    def inspection_id(self) -> int:
        """The inspection's number."""
        return int(self.row["inspection_id"])

    @property
    def title(self) -> str:
        """The part's serial number, or else its file's name."""
        return self.name if self.serial is None else str(self.serial[1])

    @property
    def outcome(self) -> str:
        """The current verdict, or `error`."""
        return self.row["final_verdict"] or "error"

    @property
    def mistake(self) -> Mistake | None:
        """Whether the verdict is an escape or a false alarm; None if neither, or unknown."""
        reviewed, expected = self.row["reviewed_verdict"], self.row["expected_is_anomalous"]
        return mistake_of(self.outcome, reviewed, expected)


def cards(ui: Ui, rows: Iterable[Mapping[str, Any]]) -> Sequence[Card]:
    """Return the cards of inspections, in their order."""
    rows = list(rows)
    detections = sorted({row["detection_id"] for row in rows if row["detection_id"] is not None})
    found = ui.store.results.annotations(detections)
    return [_card(row, found.get(row["detection_id"])) for row in rows]


def _card(row: Mapping[str, Any], found: Any) -> Card:
    ref = row["source_ref"]
    photo = marks = full = None
    size = (320, 240)
    anomalies: tuple[ReportAnomaly, ...] = ()
    if row["image_sha256"]:
        photo = f"/thumb/{row['inspection_id']}/{row['image_sha256']}"
    if found is not None:
        size = fit_size(found.width, found.height)
        anomalies = tuple(ReportAnomaly(*one) for one in found.anomalies)
        if (found.has_mask and anomalies) or (found.has_heat_map and not found.has_mask):
            place = (row["detection_id"], found.width, found.height)
            marks = marks_address(*place, small=True)
            full = marks_address(*place, small=False)
    serial, attributes = split_serial(row["attributes"] or {})
    return Card(
        row=row,
        name=ref.rstrip("/").rpartition("/")[2] or ref,
        reasons=tuple(
            plain_sentence(str(reason.get("text", reason)), [anomaly.name for anomaly in anomalies])
            for reason in row["reasons"] or ()
        ),
        anomalies=anomalies,
        photo=photo,
        marks=marks,
        full_marks=full,
        size=size,
        serial=serial,
        attributes=attributes[:_ATTRIBUTES],
    )
