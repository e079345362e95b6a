"""Every kind of PNG and JPEG is decoded correctly, or refused with its reason."""

from __future__ import annotations

import contextlib
import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from lfv.engine.decoding import Decoder, decode, measure, sample_range_of
from lfv.engine.errors import ImageRejected
from tests.support.pictures import noise


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


ORANGE = Image.new("RGB", (80, 64), (200, 120, 40))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L", "LA", "1"])
def test_modes_of_png(mode: str) -> None:
    decoded = decode(encoded(ORANGE.convert(mode)))
    assert decoded.pixels.shape == (64, 80, 3)
    expected = np.asarray(ORANGE.convert(mode).convert("RGB"), dtype=int)
    assert np.abs(decoded.pixels - expected).max() <= 1


def test_sixteen_bits_keep_their_upper_eight() -> None:
    samples = np.full((64, 80), 0x8040, dtype=np.uint16)
    assert (decode(encoded(Image.fromarray(samples))).pixels == 0x80).all()


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_samples_are_scaled_by_the_range_that_training_saw(bits: int) -> None:
    """A step of a twentieth of the range is seen, whatever the camera's bits."""
    low, high = 2**bits // 4, 2**bits // 2
    ramp = np.linspace(low, high, 80).round().astype(np.uint16)
    body = encoded(Image.fromarray(np.tile(ramp, (64, 1))))
    seen = sample_range_of([body])
    assert seen is not None
    assert seen[0] < low
    assert seen[1] > high
    pixels = decode(body, sample_range=seen).pixels[0, :, 0].astype(int)
    assert pixels[-1] - pixels[0] > 120
    assert (np.diff(pixels) >= 0).all()
    assert sample_range_of([encoded(ORANGE)]) is None


@pytest.mark.parametrize(
    ("colour_type", "pixel", "expected"),
    [
        (2, (1000, 1100, 1200), [0, 100, 200]),
        (6, (1000, 1100, 1200, 65535), [0, 100, 200]),
        (6, (2000, 2200, 2400, 32768), [0, 100, 200]),
        (4, (1100, 65535), [100, 100, 100]),
        (4, (2200, 32768), [100, 100, 100]),
        (4, (2200, 0), [0, 0, 0]),
    ],
)
def test_sixteen_bits_of_colour_and_transparency(
    colour_type: int, pixel: tuple[int, ...], expected: list[int]
) -> None:
    """Pillow keeps the upper eight bits of these only."""
    samples = np.full((64, 80, len(pixel)), pixel, dtype=">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in samples)

    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + checksum

    header = struct.pack(">IIBBBBB", 80, 64, 16, colour_type, 0, 0, 0)
    body = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    body += chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    pixels = decode(body, sample_range=(1000, 1255)).pixels
    assert pixels[0, 0].tolist() == expected
    assert (pixels == pixels[0, 0]).all()


def test_cmyk_jpeg() -> None:
    decoded = decode(encoded(ORANGE.convert("CMYK"), "JPEG", quality=95))
    assert np.abs(decoded.pixels.astype(int) - (200, 120, 40)).max() < 12


def test_transparency_is_laid_over_black() -> None:
    image = Image.new("RGBA", (64, 64), (250, 250, 250, 0))
    assert decode(encoded(image)).pixels.max() == 0


def test_orientation_is_reported_and_not_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    decoded = decode(encoded(ORANGE, "JPEG", exif=exif))
    assert (decoded.width, decoded.height, decoded.exif_orientation) == (80, 64, 6)
    assert decoded.pixels.shape == (64, 80, 3)


def test_scaled_jpeg_and_png_agree() -> None:
    ramp = Image.linear_gradient("L").resize((512, 512)).convert("RGB")
    small = [decode(encoded(ramp, kind), (128, 128)).pixels.astype(int) for kind in ("JPEG", "PNG")]
    assert np.abs(small[0] - small[1]).mean() < 3


def test_largest_and_smallest() -> None:
    assert measure(encoded(Image.new("L", (4096, 4096))))[:2] == (4096, 4096)
    assert measure(encoded(Image.new("L", (64, 64))))[:2] == (64, 64)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not_an_image"),
        (b"GIF89a" + bytes(100), "not_an_image"),
        (encoded(ORANGE, "BMP"), "not_an_image"),
        (encoded(ORANGE)[:60], "truncated"),
        (encoded(noise((256, 256), 40), "JPEG")[:2000], "truncated"),
        (encoded(Image.new("L", (63, 64))), "too_small"),
        (encoded(Image.new("L", (4097, 64))), "too_large"),
        (
            encoded(ORANGE, save_all=True, append_images=[Image.new("RGB", (80, 64))]),
            "animated",
        ),
    ],
)
def test_what_is_refused(body: bytes, reason: str) -> None:
    with pytest.raises(ImageRejected) as refused:
        decode(body)
    assert refused.value.reason == reason


def test_other_dimensions_are_named() -> None:
    with pytest.raises(ImageRejected, match="80x64 pixels; the model was trained on 64x80") as no:
        Decoder(encoded(ORANGE), expected=(64, 80))
    assert no.value.reason == "dimensions"


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_one_decoder_decodes_to_any_number_of_sizes(kind: str) -> None:
    body = encoded(noise((320, 256), 60).convert("RGB"), kind)
    decoder = Decoder(body)
    for size in ((160, 128), (320, 256), (64, 64), (100, 90), (160, 128), None):
        assert (decoder(size) == decode(body, size).pixels).all()


def test_damage_anywhere_raises_image_rejected() -> None:
    random = np.random.default_rng(0)
    for kind in ("PNG", "JPEG"):
        whole = encoded(noise((96, 96), 60).convert("RGB"), kind)
        for _ in range(60):
            body = bytearray(whole)
            for position in random.integers(0, len(body), 6):
                body[position] = random.integers(0, 256)
            with contextlib.suppress(ImageRejected):
                decode(bytes(body), (64, 64))
