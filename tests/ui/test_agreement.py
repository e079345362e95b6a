"""Cohen's kappa and McNemar's test, against figures of textbooks and SciPy."""

from __future__ import annotations

from collections import Counter

import pytest
from scipy.stats import binomtest

from lfv.formats.agreement import cohen_kappa, kappa_of_counts, mcnemar


def test_kappa_of_a_textbook_table() -> None:
    pairs = Counter({("yes", "yes"): 20, ("yes", "no"): 5, ("no", "yes"): 10, ("no", "no"): 15})
    found = kappa_of_counts(pairs)
    assert (found.parts, found.agreed) == (50, 0.7)
    assert found.kappa == pytest.approx(0.4)
    assert found.low is not None
    assert found.high is not None
    assert found.low < 0.4 < found.high
    assert found.word == "fair"
    assert "40 % did not happen: fair agreement" in found.meaning
    assert cohen_kappa(pairs.elements()) == found


@pytest.mark.parametrize(
    ("pairs", "kappa", "word"),
    [
        ([("a", "a"), ("b", "b")], 1.0, "almost perfect"),
        ([("a", "b"), ("b", "a")], -1.0, "poor"),
        ([("a", "a"), ("a", "b"), ("b", "a"), ("b", "b")], 0.0, "slight"),
        ([("a", "a"), ("a", "a")], None, ""),
        ([], None, ""),
    ],
)
def test_kappa_at_its_ends(pairs: list[tuple[str, str]], kappa: float | None, word: str) -> None:
    found = cohen_kappa(pairs)
    assert (found.kappa, found.word) == (kappa, word)
    assert word in found.meaning
    assert bool(word) == bool(found.meaning)


@pytest.mark.parametrize(("first", "second"), [(0, 0), (3, 3), (1, 9), (12, 2), (400, 300)])
def test_mcnemar_is_the_binomial_test(first: int, second: int) -> None:
    expected = binomtest(first, first + second).pvalue if first + second else 1.0
    assert mcnemar(first, second).p_value == pytest.approx(expected)
    assert mcnemar(first, second) == mcnemar(first, second)
    assert mcnemar(second, first).p_value == mcnemar(first, second).p_value


def test_mcnemar_of_many_is_close_to_the_binomial_test() -> None:
    found = mcnemar(5100, 4900)
    assert found.p_value == pytest.approx(binomtest(5100, 10_000).pvalue, rel=0.01)
    assert mcnemar(0, 5000).is_significant
