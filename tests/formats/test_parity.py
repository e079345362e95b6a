"""Pairs of old and new answers, and the figures of their comparison."""

from __future__ import annotations

import pytest

from lfv.formats.agreement import mcnemar
from lfv.formats.manifest.detected import answer_of_row
from lfv.formats.manifest.groundtruth import item_from_row
from lfv.formats.manifest.records import LineError
from lfv.formats.parity import ComparedAnswer, compare, wilson
from lfv.formats.refs import FileRef


def answer(
    ref: str,
    is_anomalous: bool = False,
    *,
    sha256: str | None = None,
    label: bool | None = None,
    confidence: float = 0.9,
) -> ComparedAnswer:
    return ComparedAnswer((ref,), is_anomalous, confidence, sha256=sha256, label=label)


def test_images_are_paired_by_content_then_reference_then_name() -> None:
    old = [answer("s3://a/1.png", sha256="x"), answer("s3://a/2.png"), answer("s3://a/3.png")]
    new = [answer("/b/3.png"), answer("s3://a/2.png"), answer("/b/other.png", sha256="x")]
    found = compare(old, new)
    assert [(pair.old.name, pair.new.name) for pair in found.pairs] == [
        ("1.png", "other.png"),
        ("2.png", "2.png"),
        ("3.png", "3.png"),
    ]


def test_a_name_that_occurs_twice_is_not_paired() -> None:
    old = [answer("s3://a/x/1.png"), answer("s3://a/y/1.png")]
    found = compare(old, [answer("/b/1.png")])
    assert not found.pairs
    assert len(found.only_old) == 2
    assert len(found.only_new) == 1
    assert not compare([answer("/b/1.png")], old).pairs


def test_the_last_answer_for_an_image_counts() -> None:
    found = compare([answer("/a/1"), answer("/a/1", True)], [answer("/a/1", True)])
    assert found.agreeing == len(found.pairs) == 1


def test_figures() -> None:
    verdicts = (
        [(True, True)] * 4 + [(False, False)] * 10 + [(True, False)] * 1 + [(False, True)] * 5
    )
    old = [answer(f"/{n}", one, label=True) for n, (one, _) in enumerate(verdicts)]
    new = [answer(f"/{n}", one) for n, (_, one) in enumerate(verdicts)]
    found = compare(old, new)
    assert found.agreement == pytest.approx(0.7)
    assert found.interval == pytest.approx((0.4810, 0.8545), abs=1e-3)
    # 5 of 20 old and 9 of 20 new are anomalous: 0.525 alike by chance
    assert found.kappa == pytest.approx((0.7 - 0.525) / 0.475)
    assert found.verdicts == mcnemar(1, 5)
    assert found.verdicts.p_value == pytest.approx(2 * (1 + 6) / 64)
    assert found.correctness == mcnemar(1, 5)  # all are labelled anomalous
    assert found.old_quality is not None
    assert found.old_quality.recall == pytest.approx(5 / 20)
    assert found.new_quality is not None
    assert found.new_quality.precision == 1.0


def test_without_labels_there_are_no_quality_figures() -> None:
    found = compare([answer("/1")], [answer("/1", True)])
    assert found.correctness is None
    assert found.old_quality is None


def test_contradictory_labels_count_as_unlabelled() -> None:
    found = compare([answer("/1", label=True)], [answer("/1", label=False)])
    assert found.pairs[0].label is None


def test_disagreements_with_the_highest_confidence_come_first() -> None:
    old = [answer("/1", confidence=0.6), answer("/2", confidence=0.99)]
    new = [answer("/1", True, confidence=0.6), answer("/2", True)]
    assert [pair.old.name for pair in compare(old, new).disagreements] == ["2", "1"]


def test_mcnemar() -> None:
    assert mcnemar(0, 0).p_value == 1.0
    assert mcnemar(5, 5).p_value == 1.0
    assert mcnemar(0, 10).p_value == pytest.approx(2 / 1024)
    assert mcnemar(480, 520).p_value == pytest.approx(0.2177, abs=2e-3)
    assert mcnemar(481, 521).p_value == pytest.approx(0.2177, abs=2e-3)  # no longer exact


def test_wilson_stays_within_its_bounds() -> None:
    assert wilson(10, 10)[1] == pytest.approx(1.0)
    assert wilson(0, 10)[0] == pytest.approx(0.0)
    assert wilson(10, 10)[0] == pytest.approx(0.7225, abs=1e-3)


ROW = {
    "source-ref": "a.png",
    "original-source-ref": "s3://old/a.png",
    "l": 0,
    "l-metadata": {"class-name": "normal", "type": "groundtruth/image-classification"},
    "l-detected": 1,
    "l-detected-metadata": {"class-name": "anomaly", "confidence": 0.75},
    "m-ref-detected": "s3://old/mask.png",
    "m-ref-detected-metadata": {
        "internal-color-map": {
            "0": {"class-name": "BACKGROUND", "hex-color": "#ffffff"},
            "1": {"class-name": "scratch", "hex-color": "#ff0000"},
        }
    },
}


def test_the_answer_of_a_row() -> None:
    item = item_from_row(dict(ROW), 1, FileRef("/set"))
    found = answer_of_row(ROW, item)
    assert found.refs == ("/set/a.png", "s3://old/a.png")
    assert (found.is_anomalous, found.confidence, found.label) == (True, 0.75, False)
    assert found.areas == ("scratch",)


@pytest.mark.parametrize("confidence", [None, "0.5", 1.5, float("nan")])
def test_an_answer_without_a_confidence_is_refused(confidence: object) -> None:
    row = ROW | {"l-detected-metadata": {"class-name": "anomaly", "confidence": confidence}}
    with pytest.raises(LineError, match="confidence"):
        answer_of_row(row, item_from_row(dict(row), 1, FileRef("/set")))


def test_a_row_without_an_answer_is_refused() -> None:
    row = {"source-ref": "a.png"}
    with pytest.raises(LineError, match="no detection result"):
        answer_of_row(row, item_from_row(dict(row), 1, FileRef("/set")))
