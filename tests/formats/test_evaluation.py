"""Figures that can be checked by hand, and against their definitions."""

from __future__ import annotations

import io
import json
import struct
import zlib
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from lfv.formats.answers import Anomaly, DetectAnomalyResult
from lfv.formats.errors import (
    ImageDamaged,
    ImageDimensionsTooLarge,
    ImageError,
    ImageFormatUnsupported,
    ImageTruncated,
)
from lfv.formats.evaluation import Evaluator, average_precision, roc_auc
from lfv.formats.masks import examine_mask, read_mask

COLORS = {"#FFFFFF": "BACKGROUND", "#FF0000": "crack", "#00FF00": "dent"}
TYPES = ["crack", "dent"]


def answer(is_anomalous: bool, confidence: float) -> DetectAnomalyResult:
    return DetectAnomalyResult(is_anomalous, confidence)


def picture(pixels: list[list[str]], mode: str = "RGB") -> bytes:
    """A PNG with a named colour for each pixel."""
    image = Image.new("RGB", (len(pixels[0]), len(pixels)))
    names = {".": (255, 255, 255), "c": (255, 0, 0), "d": (0, 255, 0), "?": (9, 9, 99)}
    image.putdata([names[pixel] for row in pixels for pixel in row])
    out = io.BytesIO()
    (image if mode == "RGB" else image.convert(mode)).save(out, "PNG")
    return out.getvalue()


def rows(*texts: str) -> list[list[str]]:
    return [list(text) for text in texts]


def test_figures_by_hand() -> None:
    evaluator = Evaluator()
    for truth, is_anomalous, confidence in (
        (True, True, 0.9),
        (True, True, 0.6),
        (True, False, 0.7),
        (False, False, 0.8),
        (False, True, 0.7),
    ):
        evaluator.add(truth, answer(is_anomalous, confidence))
    found = evaluator.result()
    assert (found.true_positives, found.false_positives) == (2, 1)
    assert (found.true_negatives, found.false_negatives) == (1, 1)
    assert found.precision == found.recall == found.f1 == pytest.approx(2 / 3)
    # Scores: anomalies .9 .6 .3, normals .2 .7: of six pairs, four are in order.
    assert found.roc_auc == pytest.approx(4 / 6)
    # Precision where each anomaly is found: 1/1, 2/3, 3/4.
    assert found.average_precision == pytest.approx((1 + 2 / 3 + 3 / 4) / 3)


def test_one_class_only_and_no_images() -> None:
    evaluator = Evaluator()
    empty = evaluator.result()
    assert empty.images == 0
    assert (empty.precision, empty.recall, empty.f1) == (None, None, None)
    assert (empty.roc_auc, empty.average_precision) == (None, None)
    evaluator.add(False, answer(False, 0.9))
    only_normal = evaluator.result()
    assert (only_normal.roc_auc, only_normal.average_precision, only_normal.f1) == (None,) * 3
    json.dumps(only_normal.to_evaluation_result(model_arn="a", ended_at=datetime.now(UTC)))


SCORED = st.lists(
    st.tuples(st.booleans(), st.sampled_from([0.0, 0.1, 0.5, 0.5, 0.9, 1.0])),
    min_size=2,
    max_size=30,
)


@settings(max_examples=100, deadline=None)
@given(SCORED)
def test_roc_auc_is_the_share_of_pairs_in_order(scored: list[tuple[bool, float]]) -> None:
    truths = np.array([truth for truth, _ in scored])
    scores = np.array([score for _, score in scored])
    wins = [
        1.0 if high > low else 0.5 if high == low else 0.0
        for high in scores[truths]
        for low in scores[~truths]
    ]
    expected = sum(wins) / len(wins) if wins else None
    assert roc_auc(truths, scores) == (None if expected is None else pytest.approx(expected))


@settings(max_examples=100, deadline=None)
@given(SCORED)
def test_average_precision_by_its_definition(scored: list[tuple[bool, float]]) -> None:
    truths = np.array([truth for truth, _ in scored])
    scores = np.array([score for _, score in scored])
    found = average_precision(truths, scores)
    if not truths.any():
        assert found is None
        return
    expected, before = 0.0, 0.0
    for threshold in sorted(set(scores), reverse=True):
        taken = scores >= threshold
        recall = (taken & truths).sum() / truths.sum()
        expected += (recall - before) * (taken & truths).sum() / taken.sum()
        before = recall
    assert found == pytest.approx(expected)


# -- masks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_masks_of_every_pixel_format(mode: str) -> None:
    mask = read_mask(picture(rows("c.d", "?.."), mode), COLORS, TYPES)
    assert mask.tolist() == [[1, 0, 2], [0, 0, 0]]


def test_transparent_pixels_are_background_and_soft_edges_are_not() -> None:
    image = Image.new("RGBA", (4, 1))
    image.putdata([(255, 0, 0, 255), (255, 0, 0, 0), (253, 2, 1, 140), (255, 0, 0, 100)])
    out = io.BytesIO()
    image.save(out, "PNG")
    assert read_mask(out.getvalue(), COLORS, TYPES).tolist() == [[1, 0, 1, 0]]


@pytest.mark.parametrize("shift", [(9, 0, 0), (0, 47, 0), (0, 0, -30), (-40, -40, -4)])
def test_a_region_slightly_off_its_colour(shift: tuple[int, int, int]) -> None:
    color = (0x2C, 0xA0, 0x2C)
    image = Image.new("RGB", (8, 4), "white")
    image.paste(tuple(level + more for level, more in zip(color, shift, strict=True)), (0, 0, 4, 4))
    out = io.BytesIO()
    image.save(out, "PNG")
    found = read_mask(out.getvalue(), {"#2CA02C": "crack"}, ("crack",))
    assert found.tolist() == [[1] * 4 + [0] * 4] * 4


@pytest.mark.parametrize("ground", ["white", "black"])
@pytest.mark.parametrize("color", ["#2CA02C", "#FFFF00", "#101010", "#F0F0F0", "#FF00FF"])
def test_smoothed_edges_belong_to_the_nearest_class(ground: str, color: str) -> None:
    """Drawn at eight times the size and reduced: no pixel of the thin line has its colour."""
    large = Image.new("RGB", (640, 480), ground)
    ImageDraw.Draw(large).line([(40, 60), (600, 400)], color, 28)
    exact = np.asarray(large.resize((80, 60), Image.Resampling.BOX))
    out = io.BytesIO()
    Image.fromarray(exact).save(out, "PNG")
    found = read_mask(out.getvalue(), {color: "crack"}, ("crack",))
    truth = Image.new("1", (640, 480))
    ImageDraw.Draw(truth).line([(40, 60), (600, 400)], 1, 28)
    covered = np.asarray(truth.convert("L").resize((80, 60), Image.Resampling.BOX)) > 127
    assert (found == covered).mean() > 0.99
    assert found[covered].mean() > 0.95


def test_an_unknown_colour_is_counted() -> None:
    image = Image.new("RGB", (10, 10), "white")
    image.paste((0, 0, 255), (0, 0, 5, 10))
    out = io.BytesIO()
    image.save(out, "PNG")
    mask = examine_mask(out.getvalue(), {"#FF0000": "crack"}, ("crack",))
    assert not mask.classes.any()
    assert mask.unknown == 0.5


def test_masks_of_another_size_are_scaled_without_mixing() -> None:
    mask = read_mask(picture(rows("cd")), COLORS, TYPES, (4, 2))
    assert mask.tolist() == [[1, 1, 2, 2], [1, 1, 2, 2]]


def test_nearly_equal_colours() -> None:
    colors = {"#FF0000": "crack", "#FF0003": "dent", "#FE0000": "BACKGROUND"}
    image = Image.new("RGB", (3, 1))
    image.putdata([(255, 0, 0), (255, 0, 3), (254, 0, 0)])
    out = io.BytesIO()
    image.save(out, "PNG")
    assert read_mask(out.getvalue(), colors, TYPES).tolist() == [[1, 2, 0]]


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def grey_png(width: int, height: int, rows: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", ImageFormatUnsupported),
        (b"GIF89a", ImageFormatUnsupported),
        (b"\x89PNG\r\n\x1a\n", ImageTruncated),
        (picture(rows("c."))[:-20], ImageTruncated),
        (grey_png(100, 100, b"\x00" * 50), ImageTruncated),
        (grey_png(2, 2, b"\x09" * 6), ImageDamaged),
        (grey_png(9000, 2, b""), ImageDimensionsTooLarge),
    ],
)
def test_invalid_masks(data: bytes, error: type[ImageError]) -> None:
    with pytest.raises(error):
        read_mask(data, COLORS, TYPES)


def segmented(mask: list[list[str]] | None, *names: str) -> DetectAnomalyResult:
    color = {"crack": "#ff0000", "dent": "#00FF00"}
    found = [Anomaly("background", 0.5, "#FFFFFF"), *(Anomaly(n, 0.1, color[n]) for n in names)]
    return DetectAnomalyResult(
        True, 0.9, tuple(found), anomaly_mask=None if mask is None else picture(mask)
    )


def test_iou_by_hand() -> None:
    evaluator = Evaluator()
    truth = picture(rows("cc..", "...."))
    evaluator.add_mask(truth, COLORS, segmented(rows(".cc.", "...d"), "crack", "dent"), (4, 2))
    evaluator.add_mask(truth, COLORS, segmented(rows("cc..", "...."), "crack"), (4, 2))
    evaluator.add_mask(truth, COLORS, segmented(None), (4, 2))
    evaluator.add_mask(picture(rows("....")), COLORS, segmented(None), (4, 2))
    crack, dent = evaluator.result().types
    assert (crack.name, crack.images) == ("crack", 3)
    assert crack.average_iou == pytest.approx((1 / 3 + 1 + 0) / 3)
    assert crack.pixel_iou == pytest.approx((1 + 2 + 0) / (3 + 2 + 2))
    assert crack.precision == 1.0
    assert crack.recall == pytest.approx(2 / 3)
    assert (dent.name, dent.images, dent.average_iou) == ("dent", 0, 0.0)
    assert (dent.precision, dent.recall, dent.f1) == (0.0, None, 0.0)


def test_an_answer_in_other_colours_than_the_truth() -> None:
    evaluator = Evaluator()
    found = DetectAnomalyResult(
        True, 0.9, (Anomaly("crack", 0.5, "#00FF00"),), anomaly_mask=picture(rows("d."))
    )
    evaluator.add_mask(picture(rows("c.")), COLORS, found, (2, 1))
    (crack,) = evaluator.result().types
    assert crack.average_iou == 1.0


def test_a_type_that_is_in_no_true_mask_is_not_in_the_file() -> None:
    evaluator = Evaluator()
    evaluator.add(False, answer(True, 0.9))
    evaluator.add_mask(None, {}, segmented(rows("d."), "dent"), (2, 1))
    found = evaluator.result()
    assert [one.name for one in found.types] == ["dent"]
    document = found.to_evaluation_result(
        model_arn="arn", ended_at=datetime(2026, 1, 1, tzinfo=UTC)
    )
    assert "PixelAnomalyClassMetrics" not in document["AggregatedEvaluationResults"]["Metrics"]


def test_an_empty_mask_does_not_count() -> None:
    evaluator = Evaluator()
    evaluator.add_mask(picture(rows("..")), COLORS, segmented(rows("d."), "dent"), (2, 1))
    assert evaluator.result().types == ()


def test_shape_of_the_result() -> None:
    evaluator = Evaluator()
    evaluator.add(True, answer(True, 0.9))
    evaluator.add(False, answer(False, 0.9))
    evaluator.add_mask(picture(rows("c.")), COLORS, segmented(rows("c."), "crack"), (2, 1))
    ended = datetime(2026, 1, 2, 3, 4, 5, 6, UTC)
    assert evaluator.result().to_evaluation_result(model_arn="arn", ended_at=ended) == {
        "Version": 1,
        "EvaluationDetails": {
            "ModelArn": "arn",
            "EvaluationEndTimestamp": "2026-01-02T03:04:05.000006",
            "NumberOfTrainingImages": None,
            "NumberOfTestingImages": 2,
        },
        "AggregatedEvaluationResults": {
            "Metrics": {
                "ROCAUC": 1.0,
                "AveragePrecision": 1.0,
                "Precision": 1.0,
                "Recall": 1.0,
                "F1Score": 1.0,
                "PixelAnomalyClassMetrics": [
                    {
                        "Precision": 1.0,
                        "Recall": 1.0,
                        "F1Score": 1.0,
                        "AIOU": 1.0,
                        "ClassName": "crack",
                    }
                ],
            }
        },
    }
    unknown = evaluator.result().to_evaluation_result(model_arn="arn", ended_at=ended)
    assert unknown["EvaluationDetails"]["NumberOfTrainingImages"] is None
    with pytest.raises(ValueError, match="zone"):
        evaluator.result().to_evaluation_result(model_arn="a", ended_at=datetime(2026, 1, 1))  # noqa: DTZ001
