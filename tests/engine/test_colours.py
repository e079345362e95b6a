"""Colours of answers: those of the manifest, and none equal to the background's."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest
from PIL import Image

from lfv.engine import Predictor, TrainingImage
from lfv.engine.trained_model import Decode, Judge, Judgement
from lfv.engine.training.dataset import read_training

Plates = Callable[..., list[TrainingImage]]


@pytest.mark.parametrize(
    ("colors", "background"),
    [
        ({"#23A436": "scratch"}, "#FFFFFF"),
        ({"#23A436": "scratch", "#000000": "BACKGROUND"}, "#000000"),
        ({"#ffffff": "scratch"}, "#000000"),
        ({"#FFFFFF": "scratch", "#000000": "stain"}, "#808080"),
    ],
)
def test_the_background_has_its_colour_in_the_manifest_or_a_separate_one(
    make_plates: Plates, colors: dict[str, str], background: str
) -> None:
    images = [
        replace(image, mask_colors=colors) if image.is_anomalous else image
        for image in make_plates(5, 5, masks=True)
    ]
    data, _ = read_training(images)
    assert data.background_color == background


def test_types_that_share_a_colour_in_masks_get_different_ones(make_plates: Plates) -> None:
    """As in public data sets, whose masks are white whatever the defect."""
    images = [
        replace(image, mask_colors={"#FFFFFF": ("dent", "scratch", "stain")[number % 3]})
        for number, image in enumerate(make_plates(5, 6, masks=True))
    ]
    data, _ = read_training(images)
    assert data.type_names == ("dent", "scratch", "stain")
    assert len({color for _, color in data.anomaly_types} | {data.background_color}) == 4


@dataclass(frozen=True)
class Painted:
    """A model whose every answer is one pixel of its type."""

    width: int = 64
    height: int = 64
    anomaly_types: tuple[tuple[str, str], ...] = (("scratch", "#FFFFFF"),)
    background_color: str = "#000000"
    threshold: float = 0.5
    sample_range: tuple[int, int] | None = None

    def open(self, *, threads: int = 1) -> Judge:  # noqa: ARG002 -- the protocol's
        def judge(decode: Decode) -> Judgement:
            classes = np.zeros((self.height, self.width), np.uint8)
            classes[3, 5] = 1
            return Judgement(0.9, classes)

        return judge


def test_answers_and_masks_are_painted_in_the_model_s_colours() -> None:
    grey = io.BytesIO()
    Image.new("RGB", (64, 64)).save(grey, "PNG")
    found = Predictor(Painted()).predict(grey.getvalue())
    assert [a.color for a in found.anomalies] == ["#000000", "#FFFFFF"]
    assert found.anomaly_mask is not None
    mask = np.asarray(Image.open(io.BytesIO(found.anomaly_mask)).convert("RGB"))
    assert mask[3, 5].tolist() == [255, 255, 255]
    assert mask.sum() == 3 * 255
