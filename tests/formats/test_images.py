"""Images are checked by their content, and each fault has its own error."""

from __future__ import annotations

import hashlib
import io
import re
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lfv.formats import errors
from lfv.formats.image_headers import exif_orientation, sniff
from lfv.formats.images import ImageLimits, check_header, check_image
from tests.support.encoded import encoded
from tests.support.pictures import noise


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_of(*chunks: bytes) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def header_chunk(width: int, height: int, bits: int = 8, colour: int = 0) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))


def segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def exif(orientation: int, order: str = "<") -> bytes:
    mark = b"II*\x00" if order == "<" else b"MM\x00*"
    return mark + struct.pack(f"{order}IHHHIHH", 8, 1, 0x0112, 3, 1, orientation, 0)


def with_segment(jpeg: bytes, marker: int, body: bytes) -> bytes:
    return jpeg[:2] + segment(marker, body) + jpeg[2:]


@pytest.mark.parametrize(
    ("format_", "mode", "bits"),
    [
        ("PNG", "1", 1),
        ("PNG", "L", 8),
        ("PNG", "LA", 8),
        ("PNG", "P", 1),
        ("PNG", "RGB", 8),
        ("PNG", "RGBA", 8),
        ("PNG", "I;16", 16),
        ("JPEG", "L", 8),
        ("JPEG", "RGB", 8),
        ("JPEG", "CMYK", 8),
    ],
)
def test_facts_of_every_pixel_format(format_: str, mode: str, bits: int) -> None:
    data = encoded(format_, (96, 64), mode)
    info, header = check_image(data), check_header(data)
    assert (info.format, header.mode, header.bits) == (format_, mode, bits)
    assert (info.width, info.height, info.size_bytes) == (96, 64, len(data))
    assert info.sha256 == hashlib.sha256(data).hexdigest()
    assert header.exif_orientation is None


@pytest.mark.parametrize("size", [(64, 64), (4096, 64), (64, 4096)])
@pytest.mark.parametrize("format_", ["PNG", "JPEG"])
def test_the_smallest_and_largest_dimensions_are_accepted(
    format_: str, size: tuple[int, int]
) -> None:
    info = check_image(encoded(format_, size))
    assert (info.width, info.height) == size


def test_the_largest_image_is_accepted() -> None:
    assert check_image(encoded("PNG", (4096, 4096), "L")).width == 4096


@pytest.mark.parametrize("save", [{"progressive": True}, {"optimize": True}, {"quality": 1}])
def test_every_usual_jpeg(save: dict[str, Any]) -> None:
    assert check_image(encoded("JPEG", **save)).format == "JPEG"


@pytest.mark.parametrize("size", [(64, 64), (65, 71), (100, 67)])
def test_interlaced_png(size: tuple[int, int]) -> None:
    """Seven passes with their own rows (Adam7), built here because Pillow writes none."""
    steps = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2))
    rows = b""
    for left, top, across, down in (*steps, (0, 1, 1, 2)):
        columns = len(range(left, size[0], across))
        rows += (b"\x00" * (1 + columns)) * len(range(top, size[1], down))
    body = struct.pack(">IIBBBBB", *size, 8, 0, 0, 0, 1)

    def png(data: bytes) -> bytes:
        packed = chunk(b"IDAT", zlib.compress(data))
        return png_of(chunk(b"IHDR", body), packed, chunk(b"IEND", b""))

    assert check_image(png(rows)).height == size[1]
    with pytest.raises(errors.ImageTruncated):
        check_image(png(rows[:-1]))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_reported_and_not_applied(orientation: int) -> None:
    data = with_segment(encoded("JPEG", (96, 64)), 0xE1, b"Exif\x00\x00" + exif(orientation, ">"))
    header = check_header(data)
    assert (header.exif_orientation, header.width, header.height) == (orientation, 96, 64)


def test_exif_orientation_of_a_png() -> None:
    whole = encoded("PNG")
    data = whole[:33] + chunk(b"eXIf", exif(6)) + whole[33:]
    assert check_header(data).exif_orientation == 6


@pytest.mark.parametrize(
    "tiff",
    [
        b"",
        b"II*\x00",
        b"II*\x00\xff\xff\xff\xff",
        b"II*\x00\x08\x00\x00\x00\xff\xff",
        exif(0),
        exif(9),
        exif(6).replace(b"\x12\x01", b"\x13\x01"),
        b"garbage that is not a TIFF",
    ],
)
def test_odd_exif_is_not_refused(tiff: bytes) -> None:
    assert exif_orientation(tiff) is None
    data = with_segment(encoded("JPEG"), 0xE1, b"Exif\x00\x00" + tiff)
    assert check_image(data)
    assert check_header(data).exif_orientation is None


def test_metadata_is_never_unpacked() -> None:
    """A text chunk that inflates to 100 MB, a broken profile, Exif that Pillow warns about."""
    bomb = chunk(b"zTXt", b"k\x00\x00" + zlib.compress(b"x" * 100_000_000, 1))
    profile = chunk(b"iCCP", b"p\x00\x00" + b"no zlib")
    whole = encoded("PNG")
    assert check_image(whole[:33] + bomb + profile + whole[33:]).format == "PNG"
    broken = exif(6)[:-6] + b"\xff" * 40
    assert check_image(with_segment(encoded("JPEG"), 0xE1, b"Exif\x00\x00" + broken))


def test_bytes_after_the_end_are_ignored() -> None:
    for format_ in ("PNG", "JPEG"):
        assert check_image(encoded(format_) + b"trailing bytes").format == format_


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", errors.ImageEmpty),
        (b"hello", errors.ImageFormatUnsupported),
        (b"\x00" * 100, errors.ImageFormatUnsupported),
        (b"<html>no such image</html>", errors.ImageFormatUnsupported),
        (b'{"error": "not found"}', errors.ImageFormatUnsupported),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", errors.ImageFormatUnsupported),
        (b"%PDF-1.7", errors.ImageFormatUnsupported),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 ", errors.ImageFormatUnsupported),
        (b"\x00\x00\x00\x20ftypheic", errors.ImageFormatUnsupported),
        (encoded("GIF"), errors.ImageFormatUnsupported),
        (encoded("BMP"), errors.ImageFormatUnsupported),
        (encoded("TIFF"), errors.ImageFormatUnsupported),
        (encoded("PNG", (63, 64)), errors.ImageTooSmall),
        (encoded("PNG", (64, 63)), errors.ImageTooSmall),
        (encoded("JPEG", (1, 1)), errors.ImageTooSmall),
        (encoded("PNG", (4097, 64)), errors.ImageDimensionsTooLarge),
        (encoded("JPEG", (64, 4097)), errors.ImageDimensionsTooLarge),
        (b"\x89PNG\r\n\x1a\n", errors.ImageTruncated),
        (b"\xff\xd8\xff", errors.ImageTruncated),
        (encoded("PNG")[:-12], errors.ImageTruncated),
        (encoded("JPEG")[:-2], errors.ImageTruncated),
    ],
)
def test_bad_images(data: bytes, error: type[errors.ImageError]) -> None:
    with pytest.raises(error) as caught:
        check_image(data)
    assert type(caught.value) is error
    sentence = str(caught.value)
    assert sentence.endswith(".")
    assert "\n" not in sentence
    assert not caught.value.retryable


def test_too_many_bytes() -> None:
    data = encoded("PNG")
    assert check_image(data, ImageLimits(max_bytes=len(data)))
    with pytest.raises(errors.ImageTooLarge, match="bytes"):
        check_image(data, ImageLimits(max_bytes=len(data) - 1))


def test_expected_dimensions() -> None:
    data = encoded("PNG", (96, 64))
    assert check_image(data, expected=(96, 64))
    with pytest.raises(errors.ImageDimensionsMismatch, match=r"96x64 .* 64x96"):
        check_image(data, expected=(64, 96))


@pytest.mark.parametrize("format_", ["PNG", "JPEG"])
def test_truncated_anywhere(format_: str, png: bytes, jpeg: bytes) -> None:
    data = {"PNG": png, "JPEG": jpeg}[format_]
    for end in range(1, len(data), 7):
        with pytest.raises((errors.ImageTruncated, errors.ImageFormatUnsupported)):
            check_image(data[:end])


def test_pixels_missing_in_valid_containers() -> None:
    """Start and end are valid, and the data in between is too short; only decoding detects that."""
    cut = zlib.compress(b"\x00" * 65 * 30)
    short = png_of(header_chunk(64, 64), chunk(b"IDAT", cut), chunk(b"IEND", b""))
    with pytest.raises(errors.ImageTruncated):
        check_image(short)
    half = zlib.compress(bytes(range(256)) * 17)[:-30]
    with pytest.raises((errors.ImageTruncated, errors.ImageDamaged)):
        check_image(png_of(header_chunk(64, 64), chunk(b"IDAT", half), chunk(b"IEND", b"")))


def test_a_progressive_jpeg_without_its_last_scans_is_truncated() -> None:
    """It decodes without a warning, only blurred."""
    out = io.BytesIO()
    noise((96, 80), 40).convert("RGB").save(out, "JPEG", progressive=True)
    whole = out.getvalue()
    starts = [found.start() for found in re.finditer(rb"\xff\xda", whole)]
    assert len(starts) > 5
    assert check_image(whole).format == "JPEG"
    for start in starts[1:]:
        tables = re.search(rb"(\xff\xc4(?:(?!\xff).)*)+$", whole[:start], re.DOTALL)
        cut = whole[: tables.start() if tables else start] + b"\xff\xd9"
        with pytest.raises(errors.ImageTruncated, match="scans are missing"):
            check_image(cut)


@pytest.mark.parametrize("save", [{}, {"progressive": True}, {"restart_marker_rows": 1}])
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.99])
def test_half_an_image_with_an_end_marker(share: float, mode: str, save: dict[str, Any]) -> None:
    """Decoders fill the rest with grey; a warning of libjpeg is the only sign of it."""
    out = io.BytesIO()
    noise((160, 120), 40).convert(mode).save(out, "JPEG", quality=80, **save)
    whole = out.getvalue()
    assert check_header(whole).mode == mode
    start = whole.index(b"\xff\xda")
    cut = start + 14 + int((len(whole) - start - 14) * share)
    with pytest.raises((errors.ImageTruncated, errors.ImageDamaged)):
        check_image(whole[:cut] + b"\xff\xd9")


@pytest.mark.parametrize("lost", [40, 300, 2000])
def test_bytes_lost_in_the_middle_of_a_jpeg(lost: int) -> None:
    noise = io.BytesIO()
    pixels = np.random.default_rng(0).normal(128, 40, (120, 160)).clip(0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(noise, "JPEG", quality=80)
    whole = noise.getvalue()
    at = len(whole) // 2
    with pytest.raises((errors.ImageTruncated, errors.ImageDamaged)):
        check_image(whole[:at] + whole[at + lost :])


def test_fill_before_the_end_marker_is_not_damage(jpeg: bytes) -> None:
    """Some cameras pad their files."""
    assert check_image(jpeg[:-2] + b"\x00" * 100 + jpeg[-2:]).width == 80
    with pytest.raises(errors.ImageDamaged, match="extraneous"):
        check_image(jpeg[:-2] + b"\x55" * 100 + jpeg[-2:])


def test_animated_png() -> None:
    out = io.BytesIO()
    frames = [Image.new("RGB", (64, 64), colour) for colour in ("red", "green")]
    frames[0].save(out, "PNG", save_all=True, append_images=frames[1:])
    with pytest.raises(errors.ImageAnimated):
        check_image(out.getvalue())


def mpo(*mark: bytes) -> bytes:
    """Two pictures in one file, with application segments before them."""
    out = io.BytesIO()
    Image.new("RGB", (64, 64)).save(
        out, "MPO", save_all=True, append_images=[Image.new("RGB", (64, 64), "red")]
    )
    data = out.getvalue()
    for body in mark:
        data = with_segment(data, 0xE1, body)
    return data


def test_several_pictures_in_one_jpeg() -> None:
    with pytest.raises(errors.ImageMultiPicture):
        check_image(mpo())


@pytest.mark.parametrize(
    "mark",
    [
        b'http://ns.adobe.com/xap/1.0/\x00<x hdrgm:Version="1.0"/>',
        b"http://ns.adobe.com/xap/1.0/\x00<x>urn:com:apple:photo:2020:aux:HDRGainMap</x>",
        b"urn:iso:std:iso:ts:21496:-1\x00",
    ],
)
def test_the_gain_map_of_a_phone_is_not_another_picture(mark: bytes) -> None:
    """Ultra HDR: the second picture only sets how bright a screen may show the first."""
    assert check_image(mpo(mark)).width == 64


def test_previews_of_a_camera_are_not_other_pictures() -> None:
    data = mpo()
    first = data.rindex(struct.pack("<I", 0x030000), 0, data.index(b"\xff\xdb"))
    kind = first + 16  # the type in the entry of the second picture
    preview = data[:kind] + struct.pack("<I", 0x010002) + data[kind + 4 :]
    assert check_image(preview).width == 64


@pytest.mark.parametrize("side", [20_000, 65_535])
def test_decompression_bombs_are_refused_by_their_header(side: int) -> None:
    data = png_of(
        header_chunk(side, side),
        chunk(b"IDAT", zlib.compress(b"\x00" * 10_000)),
        chunk(b"IEND", b""),
    )
    with pytest.raises(errors.ImageDimensionsTooLarge):
        check_image(data)


def test_a_jpeg_that_lies_about_its_dimensions(jpeg: bytes) -> None:
    frame = jpeg.index(b"\xff\xc0")
    lie = jpeg[: frame + 5] + struct.pack(">HH", 60_000, 60_000) + jpeg[frame + 9 :]
    with pytest.raises(errors.ImageDimensionsTooLarge):
        check_image(lie)


@pytest.mark.parametrize("marker", [0xC3, 0xC5, 0xC9, 0xCA])
def test_rare_encodings_of_jpeg(jpeg: bytes, marker: int) -> None:
    frame = jpeg.index(b"\xff\xc0")
    with pytest.raises(errors.ImageEncodingUnsupported):
        check_image(jpeg[: frame + 1] + bytes([marker]) + jpeg[frame + 2 :])


def test_twelve_bit_jpeg(jpeg: bytes) -> None:
    frame = jpeg.index(b"\xff\xc0")
    with pytest.raises(errors.ImageEncodingUnsupported):
        check_image(jpeg[: frame + 4] + b"\x0c" + jpeg[frame + 5 :])


def test_a_jpeg_of_a_thousand_scans(jpeg: bytes) -> None:
    start = jpeg.index(b"\xff\xda")
    scan = jpeg[start:-2]
    with pytest.raises(errors.ImageEncodingUnsupported, match="scans"):
        check_image(jpeg[:start] + scan * 101 + jpeg[-2:])


def test_a_wrong_checksum(png: bytes) -> None:
    at = png.index(b"IDAT") + 20
    with pytest.raises(errors.ImageDamaged, match="checksum"):
        check_image(png[:at] + bytes([png[at] ^ 1]) + png[at + 1 :])


@pytest.mark.parametrize(
    "data",
    [
        png_of(chunk(b"IDAT", b"x"), chunk(b"IEND", b"")),
        png_of(header_chunk(64, 64), chunk(b"IEND", b"")),
        png_of(header_chunk(64, 64), header_chunk(64, 64), chunk(b"IEND", b"")),
        png_of(header_chunk(64, 64, 7), chunk(b"IDAT", b"x"), chunk(b"IEND", b"")),
        png_of(header_chunk(64, 64, 8, 9), chunk(b"IDAT", b"x"), chunk(b"IEND", b"")),
        png_of(chunk(b"IHDR", b"short"), chunk(b"IEND", b"")),
        png_of(header_chunk(64, 64), chunk(b"IDAT", b"no zlib"), chunk(b"IEND", b"")),
        png_of(header_chunk(64, 64), b"\xff\xff\xff\xff1234" + b"x" * 8),
        png_of(header_chunk(64, 64)) + chunk(b"abCd", b"") * 100_001,
        b"\xff\xd8\xff\xd9",
        b"\xff\xd8" + segment(0xC0, b"short") + b"\xff\xd9",
        b"\xff\xd8" + segment(0xDA, b"early") + b"\xff\xd9",
        b"\xff\xd8\xff\xe0\x00\x01rest",
        b"\xff\xd8" + segment(0xE0, b"x") + b"garbage\xff\xd9",
        b"\xff\xd8" + segment(0xFE, b"") * 100_001 + b"\xff\xd9",
        b"\xff\xd8" + segment(0xE0, b"x") + b"\xff\x00\xff\xd9",
    ],
)
def test_malformed_files_are_damaged(data: bytes) -> None:
    with pytest.raises(errors.ImageDamaged):
        check_image(data)


def test_names_of_formats() -> None:
    assert sniff(b"\x00\x00\x00\x20ftypavif") == "AVIF"
    assert sniff(b"  <!DOCTYPE html>") == "HTML, SVG or XML"
    assert sniff(bytes(128) + b"DICM") == "DICOM"
    assert sniff(b"") is None


def test_a_git_lfs_pointer_is_reported() -> None:
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 7\n"
    with pytest.raises(errors.ImageFormatUnsupported, match="git lfs pull"):
        check_image(pointer)
