"""Images that the API does not accept, converted to PNG on request."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lfv.client.errors import TrainingDataInvalid
from lfv.client.sources import SourceReader
from lfv.client.staging import Staging, stage_dataset
from lfv.formats import errors
from lfv.formats.conversion import as_png, within
from lfv.formats.images import check_header, check_image


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


COLOURS = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 80, 3), dtype=np.uint8))
DEEP = Image.fromarray(np.random.default_rng(1).integers(0, 65536, (64, 80), dtype=np.uint16))


@pytest.mark.parametrize(
    ("data", "kind", "original"),
    [
        (encoded(COLOURS, "BMP"), "BMP", COLOURS),
        (encoded(COLOURS, "TIFF"), "TIFF", COLOURS),
        (encoded(COLOURS, "TIFF", compression="tiff_lzw"), "TIFF", COLOURS),
        (encoded(COLOURS.convert("L"), "TIFF"), "TIFF", COLOURS.convert("L")),
        (encoded(DEEP, "TIFF"), "TIFF", DEEP),
        (encoded(COLOURS, "WEBP", lossless=True), "WebP", COLOURS),
    ],
)
def test_every_sample_is_kept(data: bytes, kind: str, original: Image.Image) -> None:
    with pytest.raises(errors.ImageFormatUnsupported, match="--convert"):
        check_image(data)
    converted, told = as_png(data)
    assert told == kind
    assert check_header(converted).bits == (16 if original.mode.startswith("I") else 8)
    assert (np.asarray(Image.open(io.BytesIO(converted))) == np.asarray(original)).all()
    assert as_png(data) == (converted, kind)  # the same bytes every time: answers are reused


def test_accepted_images_are_not_converted(png: bytes, jpeg: bytes) -> None:
    for data in (png, jpeg, b"", b"GIF89a"):
        assert as_png(data) == (data, None)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (encoded(COLOURS, "TIFF")[:200], errors.ImageDamaged),
        (encoded(COLOURS, "TIFF", save_all=True, append_images=[DEEP]), errors.ImageMultiPicture),
        (encoded(Image.new("L", (5000, 64)), "BMP"), errors.ImageDimensionsTooLarge),
        (encoded(COLOURS.convert("CMYK"), "TIFF"), errors.ImageEncodingUnsupported),
    ],
)
def test_what_cannot_be_converted(data: bytes, error: type[errors.ImageError]) -> None:
    with pytest.raises(error):
        as_png(data)


@pytest.mark.parametrize("in_bucket", [False, True])
def test_training_images_are_converted_and_that_is_recorded(
    tmp_path: Path, bucket: Path, in_bucket: bool
) -> None:
    root = bucket if in_bucket else tmp_path / "lot"
    for name, kind in (("good/a.bmp", "BMP"), ("bad/b.tif", "TIFF"), ("good/c.png", "PNG")):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(encoded(COLOURS, kind))
    source = "s3://parts/" if in_bucket else str(root)
    staging = Staging("parts", ".staging/")
    with pytest.raises(TrainingDataInvalid, match="--convert"):
        stage_dataset(source, SourceReader(buckets={"parts": bucket}), staging)
    reader = SourceReader(buckets={"parts": bucket}, convert=True)
    staged = stage_dataset(source, reader, staging)
    assert (staged.normal, staged.anomalous) == (2, 1)
    lines = (bucket / staged.manifest.key).read_text().splitlines()
    assert sum('"converted-from":"' in line for line in lines) == 2
    assert sum(".png" in line.split(",")[0] for line in lines) == 3


def noisy(mode: str = "RGB", side: int = 256) -> bytes:
    """A PNG that cannot be compressed."""
    noise = np.random.default_rng(1).integers(0, 256, side * side * len(mode), np.uint8)
    return encoded(Image.frombytes(mode, (side, side), noise.tobytes()), "PNG")


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_an_image_with_too_many_bytes_becomes_a_jpeg_that_fits(mode: str) -> None:
    data = noisy(mode)
    limit = len(data) * 3 // 4
    small, was = within(data, limit)
    assert len(small) <= limit
    assert was is not None
    assert was.startswith(f"PNG of {len(data):,} bytes, now quality ")
    assert within(data, limit) == (small, was)  # the same bytes every time
    assert check_image(small).width == 256


def test_images_that_are_small_or_cannot_become_a_jpeg_stay_unchanged() -> None:
    data = noisy()
    assert within(data, len(data)) == (data, None)
    assert within(data, 1000) == (data, None)  # no quality fits
    transparent = noisy("RGBA")
    assert within(transparent, 10_000) == (transparent, None)
    deep = encoded(Image.fromarray(np.full((64, 64), 700, np.uint16)), "PNG")
    assert within(deep, 10) == (deep, None)
    assert within(b"not an image", 2) == (b"not an image", None)
    with pytest.raises(errors.ImageError):
        within(data[:5000], 1000)


def test_a_reader_reports_the_original_format(tmp_path: Path) -> None:
    data = noisy()
    path = tmp_path / "large.png"
    path.write_bytes(data)
    with SourceReader(most_image_bytes=len(data) // 2) as reader:
        small, was = reader.read_image(str(path))
        assert check_image(small).format == "JPEG"
        assert str(was).startswith("PNG of")
        assert reader.read_bytes(str(path)) == data
