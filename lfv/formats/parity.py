"""Compares the answers of two models: agreement, McNemar's test, and disagreements.

Images are paired by the SHA-256 of their bytes, else by reference (or the original reference of a
copy), else by file name, each only if it is unique on both sides.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from lfv.formats.agreement import Difference, cohen_kappa, mcnemar


@dataclass(frozen=True)
class ComparedAnswer:
    """The answer of one side for an image.

    `refs` are the image's references. `label` is True for an anomaly, None if unknown.
    `confidence` is the confidence of the answer, 0 to 1.
    """

    refs: tuple[str, ...]
    is_anomalous: bool
    confidence: float
    sha256: str | None = None
    label: bool | None = None
    areas: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The file's name."""
        return self.refs[0].rsplit("/", 1)[-1]


@dataclass(frozen=True)
class Pair:
    """The answers of both sides for one image."""

    old: ComparedAnswer
    new: ComparedAnswer

    @property
    def agree(self) -> bool:
        """Whether both call it normal, or both anomalous."""
        return self.old.is_anomalous == self.new.is_anomalous

    @property
    def label(self) -> bool | None:
        """The label known to either side; None if there is none or they contradict each other."""
        labels = {image.label for image in (self.old, self.new)} - {None}
        return labels.pop() if len(labels) == 1 else None


@dataclass(frozen=True)
class Quality:
    """The quality of one side's answers by the labels. Fractions are None if undefined."""

    true_positives: int
    false_positives: int
    true_negatives: int
    false_negatives: int

    @property
    def precision(self) -> float | None:
        return _share(self.true_positives, self.false_positives)

    @property
    def recall(self) -> float | None:
        return _share(self.true_positives, self.false_negatives)

    @property
    def accuracy(self) -> float | None:
        return _share(
            self.true_positives + self.true_negatives, self.false_positives + self.false_negatives
        )


@dataclass(frozen=True)
class Parity:
    """Old and new answers side by side.

    Attributes:
        pairs: Images that both sides answered, in the order of the old side.
        only_old: Images without a new answer.
        only_new: Images without an old answer.
    """

    pairs: tuple[Pair, ...]
    only_old: tuple[ComparedAnswer, ...] = ()
    only_new: tuple[ComparedAnswer, ...] = ()

    @property
    def agreeing(self) -> int:
        """Number of images on which both sides agree."""
        return sum(pair.agree for pair in self.pairs)

    @property
    def agreement(self) -> float | None:
        """Share of images on which both sides agree; None without images."""
        return self.agreeing / len(self.pairs) if self.pairs else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Wilson's 95 % interval of the agreement."""
        return wilson(self.agreeing, len(self.pairs)) if self.pairs else None

    @property
    def kappa(self) -> float | None:
        """Cohen's kappa, the agreement beyond chance; None if chance alone makes it certain."""
        return cohen_kappa(self.counts.elements()).kappa

    @property
    def counts(self) -> Counter[tuple[bool, bool]]:
        """Number of images by (old is anomalous, new is anomalous)."""
        return Counter((pair.old.is_anomalous, pair.new.is_anomalous) for pair in self.pairs)

    @property
    def verdicts(self) -> Difference:
        """McNemar's test of whether one side calls more images anomalous."""
        counts = self.counts
        return mcnemar(counts[True, False], counts[False, True])

    @property
    def labelled(self) -> list[Pair]:
        """Pairs with a label."""
        return [pair for pair in self.pairs if pair.label is not None]

    @property
    def correctness(self) -> Difference | None:
        """McNemar's test of whether one side is right more often; None without labels."""
        labelled = self.labelled
        if not labelled:
            return None
        return mcnemar(
            sum(not p.agree and p.old.is_anomalous == p.label for p in labelled),
            sum(not p.agree and p.new.is_anomalous == p.label for p in labelled),
        )

    @property
    def old_quality(self) -> Quality | None:
        """Quality of the old side's answers; None without labels."""
        return _quality([(p.label, p.old.is_anomalous) for p in self.labelled])

    @property
    def new_quality(self) -> Quality | None:
        """Quality of the new side's answers; None without labels."""
        return _quality([(p.label, p.new.is_anomalous) for p in self.labelled])

    @property
    def disagreements(self) -> list[Pair]:
        """Pairs with different answers, by descending sum of their confidences."""
        found = [pair for pair in self.pairs if not pair.agree]
        return sorted(found, key=lambda pair: -(pair.old.confidence + pair.new.confidence))


def compare(old: Sequence[ComparedAnswer], new: Sequence[ComparedAnswer]) -> Parity:
    """Pair the answers of two sides. If a side has several for an image, the last one counts."""
    old, new = _unique(old), _unique(new)
    pairs: dict[int, ComparedAnswer] = {}
    left = dict(enumerate(new))
    for keys in _KEYS:
        index = _index(left.items(), keys)
        open_old = [(at, one) for at, one in enumerate(old) if at not in pairs]
        once = Counter(key for _, one in open_old for key in keys(one))
        for at, one in open_old:
            found = {
                index[key][0]
                for key in keys(one)
                if once[key] == 1 and len(index.get(key, ())) == 1
            } & left.keys()
            if len(found) == 1:
                pairs[at] = left.pop(found.pop())
    return Parity(
        tuple(Pair(one, pairs[at]) for at, one in enumerate(old) if at in pairs),
        tuple(one for at, one in enumerate(old) if at not in pairs),
        tuple(left.values()),
    )


def wilson(hits: int, of: int) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a share."""
    z = 1.96
    share, square = hits / of, z * z
    middle = share + square / (2 * of)
    spread = z * math.sqrt(share * (1 - share) / of + square / (4 * of * of))
    return max(0.0, (middle - spread) / (1 + square / of)), min(
        1.0, (middle + spread) / (1 + square / of)
    )


def _unique(side: Sequence[ComparedAnswer]) -> list[ComparedAnswer]:
    return list({image.sha256 or image.refs[0]: image for image in side}.values())


#: By what images are paired, in this order.
_KEYS: tuple[Callable[[ComparedAnswer], tuple[str, ...]], ...] = (
    lambda one: (one.sha256,) if one.sha256 else (),
    lambda one: one.refs,
    lambda one: (one.name,),
)


def _index(
    side: Iterable[tuple[int, ComparedAnswer]], keys: Callable[[ComparedAnswer], tuple[str, ...]]
) -> dict[str, list[int]]:
    found: defaultdict[str, list[int]] = defaultdict(list)
    for at, one in side:
        for key in keys(one):
            found[key].append(at)
    return found


def _share(part: int, rest: int) -> float | None:
    return part / (part + rest) if part + rest else None


def _quality(answers: Sequence[tuple[bool | None, bool]]) -> Quality | None:
    if not answers:
        return None
    counts = Counter(answers)
    return Quality(
        counts[True, True], counts[False, True], counts[False, False], counts[True, False]
    )
