"""The report of a comparison: do a new model's answers agree with the old one's?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from lfv.formats.agreement import Difference
from lfv.formats.parity import Pair, Parity, Quality
from lfv.formats.words import count_of, form_of
from lfv.report.figures import Shown, percent, score, whole
from lfv.report.render import render, write_page
from lfv.report.thumbnails import Thumbnail, make_thumbnail, side_for

PARITY_NAME = "parity.html"
#: Images named that only one side has an answer for.
_NAMED = 50


@dataclass(frozen=True)
class DifferingImage:
    """An image on which the sides differ; `read` returns its bytes."""

    pair: Pair
    read: Callable[[], bytes]


@dataclass(frozen=True)
class ParityReport:
    """All that the page shows. `old_skipped` and `new_skipped` are lines without an answer."""

    parity: Parity
    old_title: str
    new_title: str
    old_skipped: int
    new_skipped: int
    differing: Sequence[DifferingImage]
    made_at: datetime


@dataclass(frozen=True)
class _Shown:
    pair: Pair
    thumbnail: Thumbnail | None


def write_parity_report(report: ParityReport, folder: Path) -> Path:
    """Write ``parity.html`` into `folder`, and return its path. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / PARITY_NAME
    write_page(path, parity_page(report))
    return path


def parity_page(report: ParityReport) -> str:
    """Return the HTML of `report`."""
    parity = report.parity
    counts = parity.counts
    side = side_for(len(report.differing))
    return render(
        "parity.html",
        title=f"Old and new answers, {report.made_at:%Y-%m-%d}",
        report=report,
        parity=parity,
        agreement=percent(parity.agreement or 0.0),
        interval=_interval(parity),
        kappa=score(parity.kappa),
        both_anomalous=counts[True, True],
        both_normal=counts[False, False],
        old_only=counts[True, False],
        new_only=counts[False, True],
        verdicts=verdict_sentence(parity.verdicts),
        correctness=correctness_sentence(parity.correctness),
        qualities=_qualities(parity),
        differing=[_Shown(one.pair, _thumbnail(one, side)) for one in report.differing],
        missing=[
            ("Old answers without a new one", parity.only_old[:_NAMED], len(parity.only_old)),
            ("New answers without an old one", parity.only_new[:_NAMED], len(parity.only_new)),
        ],
    )


def verdict_sentence(test: Difference) -> str:
    """Describe McNemar's test on the verdicts."""
    if not test.only_first and not test.only_second:
        return "No image is called differently."
    more = "the old" if test.only_first > test.only_second else "the new"
    found = (
        f"{count_of(test.only_first, 'image')} {form_of(test.only_first, 'is', 'are')} anomalous "
        f"for the old model only, {test.only_second} for the new one only "
        f"(McNemar's exact test: p = {test.p_value:.3g})."
    )
    if test.is_significant:
        return f"{found} That {more} model calls more images anomalous is not chance."
    return f"{found} Neither calls more images anomalous than chance explains."


def correctness_sentence(test: Difference | None) -> str | None:
    """Describe McNemar's test against the labels; None without labels."""
    if test is None:
        return None
    found = (
        f"Of the labelled images, {test.only_first} "
        f"{form_of(test.only_first, 'is', 'are')} right for the old model only, "
        f"{test.only_second} for the new one only (p = {test.p_value:.3g})."
    )
    if test.is_significant:
        better = "old" if test.only_first > test.only_second else "new"
        return f"{found} The {better} model is right more often, and that is not chance."
    return f"{found} That is no evidence that one is right more often than the other."


def _interval(parity: Parity) -> str:
    found = parity.interval
    return "" if found is None else f"{percent(found[0])} to {percent(found[1])}"


def _qualities(parity: Parity) -> list[tuple[str, Shown, Shown]]:
    old, new = parity.old_quality, parity.new_quality
    if old is None or new is None:
        return []
    rows: list[tuple[str, Callable[[Quality], float | None]]] = [
        ("accuracy", lambda one: one.accuracy),
        ("precision", lambda one: one.precision),
        ("recall", lambda one: one.recall),
    ]
    found = [(name, Shown(score(of(old))), Shown(score(of(new)))) for name, of in rows]
    return [
        *found,
        ("escapes", whole(old.false_negatives), whole(new.false_negatives)),
        ("false alarms", whole(old.false_positives), whole(new.false_positives)),
    ]


def _thumbnail(one: DifferingImage, side: int) -> Thumbnail | None:
    try:
        return make_thumbnail(one.read(), None, (), side)
    except OSError:
        return None
