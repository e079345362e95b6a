"""Charts as numbers: the positions of bars and lines, for templates to draw."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from lfv.report.run_values import ReportAnswer, ReportLimit, ReportType

#: The width of a column. The store tallies confidence in whole percent, rounded down, and
#: 0.57 * 100 rounds down to 56: at multiples of 5 no such product is rounded below the edge.
COLUMN_PERCENT = 5
_SCORE_COLUMNS = 40
_VERDICTS = ("accept", "review", "reject")
_TYPES = 12


@dataclass(frozen=True)
class Bar:
    """One column of the histogram: a range of confidence, and its images by verdict.

    `height` is the share of the highest column, 0 to 1; `parts` are (verdict, images).
    """

    is_anomalous: bool
    low: float
    high: float
    images: int
    height: float
    parts: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class LimitLine:
    """A limit of the policy in the histogram; `left` is its place from the left, 0 to 1."""

    left: float
    label: str
    is_anomalous: bool
    confidence: float


@dataclass(frozen=True)
class Histogram:
    """Confidence on one axis: from surely normal on the left to surely anomalous on the right."""

    bars: tuple[Bar, ...]
    limits: tuple[LimitLine, ...]
    lowest: float
    highest_column: int


@dataclass(frozen=True)
class ParetoRow:
    """An anomaly type: its images, as a share of the commonest, and the running total's share."""

    name: str
    color: str | None
    images: int
    width: float
    cumulative: float


def histogram(answers: Sequence[ReportAnswer], limits: Sequence[ReportLimit]) -> Histogram | None:
    """Return the histogram of all answers with the policy's limits; None without answers.

    Confidences may be rounded down to whole percent: the columns are the same.
    """
    if not answers:
        return None
    confidences = [*(one.confidence for one in answers), *(one.confidence for one in limits)]
    lowest = 50 if min(confidences) >= 0.5 else 0
    columns = range(lowest, 100, COLUMN_PERCENT)
    counted: Counter[tuple[bool, int, str]] = Counter()
    for answer in answers:
        percent = int(answer.confidence * 100)
        column = min(percent - percent % COLUMN_PERCENT, columns[-1])
        counted[answer.is_anomalous, column, answer.verdict] += answer.images
    places = [(False, column) for column in reversed(columns)]
    places += [(True, column) for column in columns]
    totals = {place: sum(counted[(*place, verdict)] for verdict in _VERDICTS) for place in places}
    highest = max(totals.values()) or 1
    bars = tuple(
        Bar(
            place[0],
            place[1] / 100,
            (place[1] + COLUMN_PERCENT) / 100,
            totals[place],
            totals[place] / highest,
            tuple(
                (verdict, counted[(*place, verdict)])
                for verdict in _VERDICTS
                if counted[(*place, verdict)]
            ),
        )
        for place in places
    )
    lines = tuple(
        LimitLine(_place(limit, lowest / 100), limit.label, limit.is_anomalous, limit.confidence)
        for limit in limits
    )
    return Histogram(bars, lines, lowest / 100, highest)


def score_histogram(
    probabilities: Sequence[tuple[float, bool]], threshold: float
) -> Histogram | None:
    """Return the histogram of probabilities of an anomaly, by label; None without any.

    Images labelled normal are counted as accept, others as reject: only their colours matter.
    """
    if not probabilities:
        return None
    counted: Counter[tuple[int, bool]] = Counter()
    for probability, is_anomalous in probabilities:
        counted[
            min(int(probability * _SCORE_COLUMNS + 1e-9), _SCORE_COLUMNS - 1), is_anomalous
        ] += 1
    totals = [counted[column, False] + counted[column, True] for column in range(_SCORE_COLUMNS)]
    highest = max(totals)
    bars = tuple(
        Bar(
            column / _SCORE_COLUMNS >= threshold,
            column / _SCORE_COLUMNS,
            (column + 1) / _SCORE_COLUMNS,
            totals[column],
            totals[column] / highest,
            tuple(
                (verdict, counted[column, label])
                for verdict, label in (("accept", False), ("reject", True))
                if counted[column, label]
            ),
        )
        for column in range(_SCORE_COLUMNS)
    )
    label = f"anomaly from {threshold:.2f}"
    limit = LimitLine(threshold, label, threshold > 0.5, threshold)
    return Histogram(bars, (limit,), 0.0, highest)


def _place(limit: ReportLimit, lowest: float) -> float:
    share = (limit.confidence - lowest) / (1.0 - lowest)
    return 0.5 + share / 2 if limit.is_anomalous else 0.5 - share / 2


def pareto(types: Sequence[ReportType]) -> tuple[ParetoRow, ...]:
    """Return the anomaly types, the commonest first; the last row may combine several."""
    ranked = sorted(types, key=lambda one: (-one.images, one.name))
    total = sum(one.images for one in ranked)
    if not total:
        return ()
    if len(ranked) > _TYPES:
        rest = ranked[_TYPES - 1 :]
        others = ReportType(f"{len(rest)} others", sum(one.images for one in rest))
        ranked = [*ranked[: _TYPES - 1], others]
    rows, sum_so_far = [], 0
    most = max(one.images for one in ranked)
    for kind in ranked:
        sum_so_far += kind.images
        rows.append(
            ParetoRow(kind.name, kind.color, kind.images, kind.images / most, sum_so_far / total)
        )
    return tuple(rows)
