"""Agreement of two judges on the same parts, and a test of whether two models differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from math import comb, erfc, sqrt

#: Words for kappa by Landis and Koch (1977), "The measurement of observer agreement".
_WORDS = (
    (0.0, "slight"),
    (0.2, "fair"),
    (0.4, "moderate"),
    (0.6, "substantial"),
    (0.8, "almost perfect"),
)
#: Discordant pairs above which the approximation is as good as the exact binomial test.
_EXACT = 1000


@dataclass(frozen=True)
class Agreement:
    """The agreement of two judges on `parts` parts.

    `agreed` is the share of equal judgements, 0 to 1. `kappa` (Cohen) is 1 for full agreement, 0
    for agreement by chance, and None without parts or if both always give the same judgement. `low`
    and `high` are its approximate 95 % interval.
    """

    parts: int
    agreed: float | None
    kappa: float | None
    low: float | None = None
    high: float | None = None

    @property
    def word(self) -> str:
        """The usual word for kappa, such as `moderate`; `poor` below 0, empty without kappa."""
        if self.kappa is None:
            return ""
        words = [word for limit, word in _WORDS if self.kappa > limit or limit == self.kappa == 0]
        return words[-1] if words else "poor"

    @property
    def meaning(self) -> str:
        """A sentence that explains kappa; empty without kappa."""
        if self.kappa is None:
            return ""
        if self.kappa < 0:
            return f"They agree less often than by chance: {self.word} agreement."
        share = f"{round(100 * self.kappa)} %"
        return (
            f"Of the disagreements that chance alone would give, {share} did not happen:"
            f" {self.word} agreement."
        )


@dataclass(frozen=True)
class Difference:
    """The result of McNemar's test on two models.

    `only_first` and `only_second` count the cases that only one of them got right. `p_value` is the
    two-sided probability of a split at least as uneven if both models were equally good.
    """

    only_first: int
    only_second: int
    p_value: float

    @property
    def is_significant(self) -> bool:
        """Whether the two differ at the 5 % level."""
        return self.p_value < 0.05


def cohen_kappa(judgements: Iterable[tuple[Hashable, Hashable]]) -> Agreement:
    """Return the agreement of two judges from their pairs of judgements, one for each part."""
    return kappa_of_counts(Counter(judgements))


def kappa_of_counts(pairs: Counter[tuple[Hashable, Hashable]]) -> Agreement:
    """Return the agreement from the number of occurrences of each pair of judgements.

    Source: Cohen (1960), "A coefficient of agreement for nominal scales". The interval uses his
    standard error, sqrt(p (1 - p) / n) / (1 - chance).
    """
    parts = sum(pairs.values())
    if not parts:
        return Agreement(0, None, None)
    first: Counter[Hashable] = Counter()
    second: Counter[Hashable] = Counter()
    same = 0
    for (one, other), number in pairs.items():
        first[one] += number
        second[other] += number
        same += number if one == other else 0
    agreed = same / parts
    chance = sum(first[name] * second[name] for name in first) / parts**2
    if chance >= 1.0:
        return Agreement(parts, agreed, None)
    kappa = (agreed - chance) / (1 - chance)
    margin = 1.96 * sqrt(agreed * (1 - agreed) / parts) / (1 - chance)
    return Agreement(parts, agreed, kappa, max(-1.0, kappa - margin), min(1.0, kappa + margin))


def mcnemar(only_first: int, only_second: int) -> Difference:
    """Return McNemar's test from the numbers of parts that only one of two models judged right.

    The test is exact (binomial) for up to 1,000 such parts, else chi-squared with continuity
    correction.
    """
    total = only_first + only_second
    if total == 0:
        return Difference(0, 0, 1.0)
    fewer = min(only_first, only_second)
    if total <= _EXACT:
        tail = sum(comb(total, k) for k in range(fewer + 1))
        return Difference(only_first, only_second, min(1.0, 2 * tail / 2**total))
    statistic = max(0, abs(only_first - only_second) - 1) ** 2 / total
    return Difference(only_first, only_second, erfc(sqrt(statistic / 2)))
