"""Images and masks with valid headers and damaged pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from lfv.engine import find_damaged
from lfv.engine.types import TrainingImage
from tests.support.pictures import noise


@pytest.fixture
def image(tmp_path: Path) -> TrainingImage:
    path, mask = tmp_path / "image", tmp_path / "mask"
    noise((96, 80), 50).convert("RGB").save(path, "PNG")
    noise((96, 80), 50, seed=1).save(mask, "PNG")
    return TrainingImage("s3://b/1.png", path, is_anomalous=True, mask_path=mask)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    """One wrong bit in a PNG's pixels, which the checksum detects."""
    body = bytearray(path.read_bytes())
    body[len(body) // 2] ^= 1
    path.write_bytes(body)


def test_valid_images(image: TrainingImage, tmp_path: Path) -> None:
    jpeg = replace(image, source_ref="s3://b/2.jpg", path=tmp_path / "jpeg", mask_path=None)
    Image.open(image.path).save(jpeg.path, "JPEG", progressive=True)
    assert find_damaged([image, jpeg]) == {}


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_truncated_image(image: TrainingImage, kind: str) -> None:
    Image.open(image.path).save(image.path, kind)
    cut(image.path)
    (why,) = find_damaged([image]).values()
    assert "truncated" in why


@pytest.mark.parametrize("damage", [cut, flip])
def test_damaged_mask(image: TrainingImage, damage: Callable[[Path], None]) -> None:
    assert image.mask_path is not None
    damage(image.mask_path)
    (why,) = find_damaged([image]).values()
    assert why.startswith("its mask cannot be read: ")
    assert image.mask_path.name not in why.removeprefix("its mask")
    # The mask of a normal image is not read.
    assert find_damaged([replace(image, is_anomalous=False)]) == {}


def test_missing_image(image: TrainingImage) -> None:
    image.path.unlink()
    assert list(find_damaged([image])) == [image.source_ref]
