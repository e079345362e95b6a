"""Compares two models on the images that both have judged."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from lfv.formats.agreement import Difference, mcnemar
from lfv_store import Store
from lfv_store.comparisons import ComparedAnswer

#: The most disagreements that are listed; all are counted.
MOST_DISAGREEMENTS = 100


@dataclass(frozen=True)
class Comparison:
    """Two models on the same images.

    The truth is known of `known` images, by the last review or else the label. `trained` of them
    are left out of the figures, because a model was trained on them. Of the others, both models are
    right on `both_right` and wrong on `both_wrong`; `difference` covers those where one is right.
    `disagreements` are the first of the `disagreeing` images, on which the answers differ.
    """

    images: int
    known: int
    trained: int
    both_right: int
    both_wrong: int
    difference: Difference
    disagreeing: int
    disagreements: tuple[ComparedAnswer, ...]


def compare_models(
    store: Store, first: int, second: int, trained_on: Collection[str] = ()
) -> Comparison:
    """Compare two models, by their ids, on all images that both have judged.

    `trained_on` are references of images that one of the models was trained on, which say nothing
    about its performance on others.
    """
    answers = store.comparisons.compared(first, second)
    known = [one for one in answers if one.is_defective is not None]
    fresh = [one for one in known if one.source_ref not in trained_on]
    right = [
        (one.first_is_anomalous == one.is_defective, one.second_is_anomalous == one.is_defective)
        for one in fresh
    ]
    differ = [one for one in answers if one.first_is_anomalous != one.second_is_anomalous]
    # Images of known truth first, because they show which model is right.
    differ.sort(key=lambda one: (one.is_defective is None, one.inspection_id))
    return Comparison(
        images=len(answers),
        known=len(known),
        trained=len(known) - len(fresh),
        both_right=right.count((True, True)),
        both_wrong=right.count((False, False)),
        difference=mcnemar(right.count((True, False)), right.count((False, True))),
        disagreeing=len(differ),
        disagreements=tuple(differ[:MOST_DISAGREEMENTS]),
    )
