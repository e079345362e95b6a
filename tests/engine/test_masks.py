"""Masks as found in practice."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lfv.engine.errors import TrainingError
from lfv.engine.training.dataset import load_labels, load_shares, read_training
from lfv.engine.types import TrainingImage
from lfv.formats.errors import ImageFormatUnsupported, MaskColorInvalid
from lfv.formats.masks import parse_color, plain_mask, read_mask, shows_anomaly
from tests.support.pictures import noise

COLORS = {"#23A436": "crack", "#FF7F0E": "dent"}
TYPES = ("crack", "dent")


@pytest.fixture
def mask() -> Image.Image:
    image = Image.new("RGB", (40, 30), "white")
    image.paste((0x23, 0xA4, 0x36), (0, 0, 10, 10))
    image.paste((0xFF, 0x7F, 0x0E), (20, 10, 40, 20))
    return image


def expected() -> np.ndarray:
    classes = np.zeros((30, 40), dtype=np.uint8)
    classes[:10, :10] = 1
    classes[10:20, 20:] = 2
    return classes


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_modes(mask: Image.Image, tmp_path: Path, mode: str) -> None:
    converted = mask.quantize(8) if mode == "P" else mask.convert(mode)
    converted.save(tmp_path / "mask.png")
    found = read_mask((tmp_path / "mask.png").read_bytes(), COLORS, TYPES, (40, 30))
    assert (found == expected()).all()


def test_another_size_is_scaled(mask: Image.Image, tmp_path: Path) -> None:
    mask.resize((80, 60), Image.Resampling.NEAREST).save(tmp_path / "mask.png")
    found = read_mask((tmp_path / "mask.png").read_bytes(), COLORS, TYPES, (40, 30))
    assert (found == expected()).all()


def test_lossy_colours_become_the_nearest(mask: Image.Image, tmp_path: Path) -> None:
    noisy = np.asarray(mask, dtype=int) + np.random.default_rng(0).integers(-12, 13, (30, 40, 3))
    Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).save(tmp_path / "mask.png")
    found = read_mask((tmp_path / "mask.png").read_bytes(), COLORS, TYPES, (40, 30))
    assert (found == expected()).all()


def test_unmapped_and_transparent_pixels_are_background(tmp_path: Path) -> None:
    image = Image.new("RGBA", (40, 30), (0x23, 0xA4, 0x36, 0))
    image.paste((120, 0, 200, 255), (0, 0, 40, 10))
    image.save(tmp_path / "mask.png")
    assert not read_mask((tmp_path / "mask.png").read_bytes(), COLORS, TYPES, (40, 30)).any()


def test_colours_missing_in_the_map_are_reported(mask: Image.Image, tmp_path: Path) -> None:
    """Not those of smoothed edges."""
    images = []
    for number in range(24):
        path, mask_path = tmp_path / f"{number}.png", tmp_path / f"{number}.mask.png"
        noise((80, 64), 20 + number, number).save(path)
        smoothed = mask.resize((80, 60), Image.Resampling.BILINEAR)
        if number == 2:
            smoothed.paste((0, 0, 255), (0, 40, 60, 60))
        smoothed.save(mask_path)
        colors = COLORS if number < 12 else {}
        images.append(TrainingImage(f"lot/{number}.png", path, number < 12, mask_path, colors))
    _, warnings = read_training(images)
    (found,) = (warning for warning in warnings if "colour map" in warning)
    assert found.startswith(
        "1 mask shows colours that the colour map does not name, such as that of lot/2.png: "
        "25.0% of its pixels, most of them #0000FF."
    )


@pytest.mark.parametrize(
    ("mode", "ground", "paint"),
    [
        ("L", 0, 255),
        ("L", 0, 250),
        ("L", 0, 1),  # a class's number
        ("1", 0, 255),
        ("P", 0, 7),
        ("I;16", 0, 3),
        ("I;16", 0, 65535),
        ("RGB", (0, 0, 0), (128, 0, 0)),
        ("RGB", (255, 255, 255), (255, 0, 0)),
        ("RGBA", (0, 0, 0, 0), (0, 0, 255, 255)),
    ],
)
def test_masks_without_a_colour_map(mode: str, ground: Any, paint: Any) -> None:
    image = Image.new(mode, (40, 30), ground)
    image.paste(paint, (10, 0, 20, 30))
    if mode == "P":
        image.putpalette([0, 0, 0] + [90, 20, 20] * 255)
    white = Image.open(io.BytesIO(plain_mask([encoded(image)]))).convert("L")
    assert white.getbbox() == (10, 0, 20, 30)
    assert {shade for _, shade in white.getcolors()} == {0, 255}
    assert shows_anomaly([encoded(image)])
    assert not shows_anomaly([encoded(Image.new("L", (40, 30)))])


def test_several_masks_of_an_image_become_one() -> None:
    left, right = Image.new("L", (40, 30)), Image.new("L", (80, 60))
    left.paste(255, (0, 0, 10, 10))
    right.paste(200, (60, 0, 80, 20))
    merged = Image.open(io.BytesIO(plain_mask([encoded(left), encoded(right)])))
    assert merged.size == (40, 30)
    assert merged.getbbox() == (0, 0, 40, 10)


def encoded(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def test_an_anomaly_may_be_black(tmp_path: Path) -> None:
    image = Image.new("RGB", (40, 30), "white")
    image.paste("black", (0, 0, 10, 30))
    image.save(tmp_path / "mask.png")
    found = read_mask(
        (tmp_path / "mask.png").read_bytes(), {"#000000": "hole"}, ("hole",), (40, 30)
    )
    assert found.sum() == 300


def test_cells_have_the_share_of_each_type(mask: Image.Image, tmp_path: Path) -> None:
    mask.save(tmp_path / "mask.png")
    image = TrainingImage("a.jpg", tmp_path / "a.jpg", True, tmp_path / "mask.png", COLORS)
    shares = load_shares(image, TYPES, (2, 5))  # cells of 8 x 15 pixels
    assert shares is not None
    assert shares.shape == (3, 2, 5)
    assert shares.sum(axis=0) == pytest.approx(1)
    assert shares[1, 0] == pytest.approx([10 / 15, 2 / 8 * 10 / 15, 0, 0, 0], abs=0.1)
    assert shares[2, 1] == pytest.approx([0, 0, 4 / 8 * 5 / 15, 5 / 15, 5 / 15], abs=0.1)
    normal = TrainingImage("b.jpg", tmp_path / "b.jpg", False, tmp_path / "mask.png", COLORS)
    background = load_shares(normal, TYPES, (2, 5))
    assert background is not None
    assert (background[0] == 1).all()
    unknown = TrainingImage("c.jpg", tmp_path / "c.jpg", True)
    assert load_shares(unknown, TYPES, (2, 5)) is None


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "P"])
def test_black_on_white_without_a_colour_map(mode: str) -> None:
    """The background surrounds the anomalies, so it is what touches the edge."""
    image = Image.new("L", (40, 30), 255)
    image.paste(0, (30, 10, 40, 25))  # it reaches the edge
    given = encoded(image.convert(mode))
    white = np.asarray(Image.open(io.BytesIO(plain_mask([given]))).convert("L"))
    assert (white == 255).sum() == 150
    assert white[12, 35] == 255
    assert shows_anomaly([given])


def test_a_large_anomaly_stays_one() -> None:
    image = Image.new("L", (40, 30), 0)
    image.paste(255, (3, 3, 40, 30))
    given = encoded(image)
    assert plain_mask([given]) == given


def test_a_mask_of_one_colour_is_ambiguous() -> None:
    with pytest.raises(MaskColorInvalid, match="only one colour"):
        shows_anomaly([encoded(Image.new("L", (40, 30), 255))])


def test_colours() -> None:
    assert parse_color("#23a436") == (0x23, 0xA4, 0x36)
    with pytest.raises(MaskColorInvalid, match="'green' is not of the form #RRGGBB"):
        parse_color("green")


def test_an_unreadable_mask_is_named(tmp_path: Path) -> None:
    """By its image's name, because users do not know the copy's."""
    path = tmp_path / "mask.png"
    path.write_bytes(b"nothing")
    with pytest.raises(ImageFormatUnsupported, match="not a PNG"):
        read_mask(path.read_bytes(), COLORS, TYPES, (40, 30))
    image = TrainingImage("s3://b/7.png", tmp_path / "7.png", True, path, COLORS)
    with pytest.raises(TrainingError, match=r"^s3://b/7\.png: Its mask cannot be read"):
        load_labels(image, TYPES, (40, 30))
