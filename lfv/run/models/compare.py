"""Compares two models on the images that both have judged."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

from lfv.client.sources import SourceReader
from lfv.formats.agreement import Difference, mcnemar
from lfv.formats.errors import LfvError
from lfv.run.models.retrain import trained_on
from lfv_store import Model, Store
from lfv_store.comparisons import AnswerPair

#: Maximum number of disagreements listed; all are counted.
MOST_DISAGREEMENTS = 100


@dataclass(frozen=True)
class Comparison:
    """Two models on the same images.

    The truth is known for `known` images, by the last review or else the label. `trained` of them
    are left out of the figures, because a model was trained on them. Of the others, both models are
    right on `both_right` and wrong on `both_wrong`; `difference` covers those where one is right.
    `disagreements` are the first of the `disagreeing` images, on which the answers differ.
    `learned` are the images that a model was trained on; `unread` says why some are not known.
    """

    images: int
    known: int
    trained: int
    both_right: int
    both_wrong: int
    difference: Difference
    disagreeing: int
    disagreements: tuple[AnswerPair, ...]
    learned: frozenset[str] = frozenset()
    unread: str = ""

    def facts(self, first: Model, second: Model) -> dict[str, Any]:
        """Return the figures as an approval stores them."""
        return {
            "first": {"model_id": first.model_id, "version": first.key.model_version},
            "second": {"model_id": second.model_id, "version": second.key.model_version},
            "images": self.images,
            "known": self.known,
            "left_out_as_trained_on": self.trained,
            "both_right": self.both_right,
            "both_wrong": self.both_wrong,
            "only_first_right": self.difference.only_first,
            "only_second_right": self.difference.only_second,
            "p_value": self.difference.p_value,
            "disagreeing": self.disagreeing,
        }


def compare_versions(store: Store, reader: SourceReader, first: Model, second: Model) -> Comparison:
    """Compare two models on all images that both have judged.

    Images of recorded trainings do not count.
    """
    learned: set[str] = set()
    unread = ""
    for model in (first, second):
        try:
            learned |= trained_on(store, reader, model.model_id)
        except LfvError as error:
            unread = f"version {model.key.model_version}: {error}"
    found = compare_models(store, first.model_id, second.model_id, learned)
    return replace(found, learned=frozenset(learned), unread=unread)


def compare_models(
    store: Store, first: int, second: int, trained_on: Collection[str] = ()
) -> Comparison:
    """Compare two models, by their ids, on all images that both have judged.

    `trained_on` are references of images that one of the models was trained on, which say nothing
    about its performance on others.
    """
    answers = store.comparisons.answers(first, second)
    known = [one for one in answers if one.is_defective is not None]
    fresh = [answer for answer in known if answer.source_ref not in trained_on]
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
