"""Checking images has no side effects, and survives any bytes."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from lfv.formats import errors
from lfv.formats.images import check_image
from tests.support.encoded import encoded


def test_no_global_setting_is_read_or_changed(png: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)  # Image.open would refuse
    assert check_image(png)
    assert Image.MAX_IMAGE_PIXELS == 10
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


def test_many_threads(png: bytes, jpeg: bytes) -> None:
    wrong: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(30):
                assert check_image(png).format == "PNG"
                assert check_image(jpeg).format == "JPEG"
                with pytest.raises(errors.ImageError):
                    check_image(jpeg[:500])
        except BaseException as error:  # noqa: BLE001 - told by the main thread
            wrong.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@settings(max_examples=150, deadline=None)
@given(
    base=st.sampled_from([encoded("PNG", (64, 64)), encoded("JPEG", (64, 64))]),
    edits=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=6),
)
def test_damage_gives_an_image_error_or_an_image(
    base: bytes, edits: list[tuple[float, int]]
) -> None:
    data = bytearray(base)
    for place, value in edits:
        data[min(int(place * len(data)), len(data) - 1)] = value
    with contextlib.suppress(errors.ImageError):
        assert 64 <= check_image(bytes(data)).width <= 4096


@settings(max_examples=80, deadline=None)
@given(st.binary(max_size=400))
def test_noise_gives_an_image_error(tail: bytes) -> None:
    for start in (b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"):
        with pytest.raises(errors.ImageError):
            check_image(start + tail)


def test_the_sample_images_are_sound(sample_data: Path) -> None:
    cookies = {
        (info.format, info.width, info.height)
        for path in (sample_data / "cookies" / "test-images").iterdir()
        for info in [check_image(path.read_bytes())]
    }
    assert cookies == {("JPEG", 576, 768)}
