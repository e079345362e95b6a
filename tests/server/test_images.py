"""What the service reads of an image before it runs a model on it."""

from __future__ import annotations

import io
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from lfv.formats.errors import ImageDamaged, ImageEncodingUnsupported, ImageTruncated
from lfv.formats.image_headers import MAX_SCANS
from lfv.formats.images import check_header
from tests.support.service import (
    BUCKET,
    Service,
    detect,
    jpeg,
    make_dataset,
    model_in,
    png,
    put_images,
)

_SCAN = 0xDA


def progressive(size: tuple[int, int] = (64, 64)) -> bytes:
    """A progressive JPEG as an encoder makes it."""
    out = io.BytesIO()
    Image.linear_gradient("L").resize(size).convert("RGB").save(out, "JPEG", progressive=True)
    return out.getvalue()


def segments(image: bytes) -> Iterator[tuple[int, bytes]]:
    """Marker and bytes of each segment between a JPEG's first and last; a scan has its data."""
    position = 2
    while (code := image[position + 1]) != 0xD9:
        end = position + 2 + struct.unpack_from(">H", image, position + 2)[0]
        while code == _SCAN and (image[end] != 0xFF or image[end + 1] == 0):
            end += 1
        yield code, image[position:end]
        position = end


def with_scans(image: bytes, count: int) -> bytes:
    """Repeat the last scan until there are ``count``."""
    scans = [data for code, data in segments(image) if code == _SCAN]
    return image[:-2] + scans[-1] * (count - len(scans)) + image[-2:]


def with_comment(image: bytes, comment: bytes) -> bytes:
    return image[:2] + b"\xff\xfe" + struct.pack(">H", len(comment) + 2) + comment + image[2:]


@pytest.mark.parametrize("image", [jpeg(), progressive(), progressive((4096, 64))])
def test_files_of_encoders_are_accepted(image: bytes) -> None:
    assert check_header(image).height == 64


def test_scans_are_counted() -> None:
    assert check_header(with_scans(progressive(), MAX_SCANS)).width == 64
    for more in (1, 5000):
        with pytest.raises(ImageEncodingUnsupported, match="more than 100 scans"):
            check_header(with_scans(progressive(), MAX_SCANS + more))


@pytest.mark.parametrize(
    "between", [b"", b"\xff", b"\0" * 7, b"\xff\xfe\0\x02", b"\xff\xd0", b"\xff\x02", b"\xff\0"]
)
def test_scans_are_found_whatever_lies_between(between: bytes) -> None:
    image = progressive()
    *_, (_, scan) = segments(image)
    crowded = image[:-2] + (between + scan) * MAX_SCANS + image[-2:]
    with pytest.raises((ImageEncodingUnsupported, ImageDamaged, ImageTruncated)):
        check_header(crowded)


def test_bytes_that_only_look_like_scans_are_not_counted() -> None:
    """Such as thumbnails in a comment, and what follows the image's end."""
    scan = b"\xff\xda\0\x02"
    assert check_header(with_comment(progressive(), scan * 1000)).width == 64
    assert check_header(progressive() + scan * 1000).width == 64
    assert check_header(png()).width == 64


def test_counting_takes_no_time() -> None:
    """An image of the largest size, made to be slow to walk through."""
    scan = b"\xff\xda\0\x08\1\1\0\0\0\0"  # one component, its lowest coefficient
    filled = progressive()[:-2] + b"\xff\0" * 4_000_000 + scan * (MAX_SCANS - 20)
    filled = with_comment(filled, b"\xff\xda" * MAX_SCANS)
    began = time.process_time()
    with pytest.raises(ImageTruncated):  # it has no end
        check_header(filled)
    assert time.process_time() - began < 2


def test_a_scan_bomb_is_refused(client: Any, hosted: str) -> None:
    bomb = with_scans(progressive(), 5000)
    with pytest.raises(client.exceptions.ValidationException, match="more than 100 scans"):
        detect(client, hosted, bomb, "image/jpeg")
    assert detect(client, hosted, with_scans(progressive(), 20), "image/jpeg")


def test_a_scan_bomb_is_not_trained_on(client: Any, service: Service, project: str) -> None:
    lines = put_images(service, project, 6)
    folder: Path = service.bucket / project
    (folder / "0.png").write_bytes(with_scans(progressive(), 5000))
    make_dataset(client, service, project, lines, "train")
    client.create_model(ProjectName=project, OutputConfig={"S3Location": {"Bucket": BUCKET}})
    described = model_in(client, project, "TRAINED", "TRAINING_FAILED")
    assert described["Status"] == "TRAINED"
    assert "more than 100 scans" in described["StatusMessage"]
