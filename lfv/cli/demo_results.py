"""The results of a small run, image by image, for a table on one screen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lfv.cli.short_texts import answer

if TYPE_CHECKING:
    from lfv_store import Store


@dataclass(frozen=True)
class ImageResult:
    """One line of the manifest; `verdict` is 'error' if the image could not be inspected."""

    line_number: int
    image: str
    serial: str
    label: str
    verdict: str
    answer: str
    anomalies: str
    error: str | None


def image_results(store: Store, run_id: str) -> list[ImageResult]:
    """Return all lines of a run, in order; for small runs."""
    from lfv.formats.answers import DetectAnomalyResult

    answers = {
        detection.line_number: DetectAnomalyResult.from_response(detection.response)
        for detection in store.verdicts.candidates(run_id)
    }
    return [_result(row, answers.get(row["line_number"])) for row in store.results.rows(run_id)]


def _result(row: dict[str, Any], found: Any) -> ImageResult:
    defects = found.defects if found is not None else ()
    return ImageResult(
        line_number=row["line_number"],
        image=row["source_ref"].rpartition("/")[2],
        serial=str(row["attributes"].get("serial", "")),
        label=_label(row["expected_is_anomalous"]),
        verdict=row["verdict"] or "error",
        answer=answer(row["is_anomalous"], row["confidence"]),
        anomalies=", ".join(
            f"{one.name} {_share(one.total_percentage_area)}"
            for one in sorted(defects, key=lambda one: -one.total_percentage_area)
        ),
        error=row["error"],
    )


def _share(area: float) -> str:
    """Format a share of the image in percent, never rounding an area down to zero."""
    return f"{area:.2%}" if area >= 0.0001 else "<0.01%"


def _label(expected: bool | None) -> str:
    if expected is None:
        return ""
    return "anomaly" if expected else "normal"
