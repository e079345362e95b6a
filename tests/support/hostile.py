"""A hundred inputs that are not valid images, each with its expected error.

Lines of a Ground Truth manifest, and the files of lines, all generated.
"""

from __future__ import annotations

import io
import json
import os
import socket
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

LABEL_TYPE = {"type": "groundtruth/image-classification"}
MASK_TYPE = {"type": "groundtruth/semantic-segmentation"}


def hostile_lines() -> Iterator[tuple[bytes, str]]:
    """Manifest lines without a valid image, with the code of each."""
    yield b"not json at all", "json_invalid"
    yield b"{", "json_invalid"
    yield b'{"source-ref": "a.png"', "json_invalid"
    yield b"{'source-ref': 'a.png'}", "json_invalid"
    yield b'{"source-ref": "a.png",}', "json_invalid"
    yield b'{"source-ref": "a.png"} {"source-ref": "b.png"}', "json_invalid"
    yield b'{"source-ref": "a\x01.png"}', "json_invalid"
    yield b'{"source-ref": "a.png", "n": 01}', "json_invalid"
    yield b'{"source-ref": undefined}', "json_invalid"
    yield b"<svg onload=alert(1)>", "json_invalid"
    yield b"'; DROP TABLE inspections; --", "json_invalid"
    yield b"=cmd|' /C calc'!A0", "json_invalid"
    yield b"\x1b[2J\x1b[31mred", "json_invalid"
    yield b"[]", "json_not_an_object"
    yield b'"a.png"', "json_not_an_object"
    yield b"42", "json_not_an_object"
    yield b"null", "json_not_an_object"
    yield b"true", "json_not_an_object"
    yield b'["source-ref", "a.png"]', "json_not_an_object"
    yield b'{"source-ref": "a.png", "score": NaN}', "json_not_a_number"
    yield b'{"source-ref": "a.png", "score": -Infinity}', "json_not_a_number"
    yield b'{"source-ref": "a.png", "source-ref": "b.png"}', "json_duplicate_name"
    yield b'{"source-ref": "a.png", "x": {"y": 1, "y": 2}}', "json_duplicate_name"
    yield b'{"source-ref": "a.png", "x": ' + b"[" * 60 + b"]" * 60 + b"}", "json_too_deep"
    yield b"[" * 100_000, "json_too_deep"
    yield b'{"source-ref": "\xff\xfe.png"}', "not_utf8"
    yield b"\x80\x81\x82", "not_utf8"
    yield b'{"source-ref": "a\x00.png"}', "nul_character"
    yield b'{"source-ref": "a\\u0000.png"}', "nul_character"
    yield b'{"source-ref": "a.png", "serial": "\\u0000"}', "nul_character"
    yield b'{"source-ref": "' + b"a" * 300_000 + b'.png"}', "line_too_long"
    yield b"x" * 1_000_000, "line_too_long"
    yield b"{}", "source_ref_missing"
    yield b'{"source_ref": "a.png"}', "source_not_found"  # a flat row: read like a table's
    yield b'{"image": "a"}', "source_ref_missing"
    for value in (None, 7, True, ["a.png"], {"path": "a.png"}, "", "   "):
        yield _line(**{"source-ref": value}), "source_ref_invalid"
    yield _line(**{"source-ref": "s3://"}), "source_ref_invalid"
    yield _line(**{"source-ref": "s3://bucket"}), "source_ref_invalid"
    for scheme in ("http", "https", "ftp", "data", "javascript", "gs", "ssh"):
        yield _line(**{"source-ref": f"{scheme}://example/a.png"}), "source_scheme_unsupported"


def odd_labels(image: str) -> Iterator[bytes]:
    """Manifest lines of `image` with invalid labels or masks; it is still inspected."""
    yield _line(
        **{
            "source-ref": image,
            "one": 0,
            "one-metadata": {**LABEL_TYPE, "class-name": "normal"},
            "two": 1,
            "two-metadata": {**LABEL_TYPE, "class-name": "anomaly"},
        }
    )
    masks: dict[str, Any] = {"source-ref": image}
    for name in ("one-ref", "two-ref"):
        masks[name] = f"{name}.png"
        masks[f"{name}-metadata"] = {
            **MASK_TYPE,
            "internal-color-map": {"1": {"class-name": "scratch", "hex-color": "#ff0000"}},
        }
    yield _line(**masks)
    for colors in (None, {"1": {"class-name": "scratch", "hex-color": "red"}}, {"1": {}}, 3):
        yield _line(
            **{
                "source-ref": image,
                "mask-ref": "m.png",
                "mask-ref-metadata": {**MASK_TYPE, "internal-color-map": colors},
            }
        )


def hostile_files(folder: Path) -> Iterator[tuple[str, str]]:
    """Files in `folder` that the service does not accept: (reference, code)."""
    png, jpeg = _png((80, 80)), _encoded("JPEG")

    def write(name: str, data: bytes) -> str:
        (folder / name).write_bytes(data)
        return name

    yield write("empty.png", b""), "image_empty"
    yield write("text.png", b"no picture"), "image_format_unsupported"
    yield write("script.jpg", b"#!/bin/sh\nrm -rf /\n"), "image_format_unsupported"
    yield write("page.png", b"<html><script>alert(1)</script></html>"), "image_format_unsupported"
    yield (
        write("vector.png", b"<svg xmlns='http://www.w3.org/2000/svg'/>"),
        ("image_format_unsupported"),
    )
    yield write("program.png", b"\x7fELF\x02\x01\x01" + bytes(200)), "image_format_unsupported"
    yield write("archive.png", b"PK\x03\x04" + bytes(200)), "image_format_unsupported"
    yield write("zeros.jpg", bytes(10_000)), "image_format_unsupported"
    yield write("noise.png", bytes(range(256)) * 40), "image_format_unsupported"
    for format_ in ("GIF", "BMP", "TIFF", "WEBP", "PPM", "ICO"):
        yield write(f"really-{format_.lower()}.png", _encoded(format_)), "image_format_unsupported"
    yield write("tiny.png", _png((1, 1))), "image_too_small"
    yield write("narrow.png", _png((63, 400))), "image_too_small"
    yield write("low.png", _png((400, 63))), "image_too_small"
    yield write("wide.png", _png((4097, 64))), "image_dimensions_too_large"
    yield write("high.png", _png((64, 4097))), "image_dimensions_too_large"
    yield write("bomb.png", _header_only(50_000, 50_000)), "image_dimensions_too_large"
    yield write("bigger-bomb.png", _header_only(2**31 - 1, 2**31 - 1)), "image_dimensions_too_large"
    yield write("flat.png", _header_only(0, 100)), "image_damaged"
    yield write("heavy.png", png + bytes(8 * 1024 * 1024)), "image_too_large"
    yield write("enormous.png", png + bytes(33 * 1024 * 1024)), "source_too_large"
    yield write("signature.png", png[:8]), "image_truncated"
    yield write("header.png", png[:33]), "image_truncated"
    yield write("half.png", png[: len(png) // 2]), "image_truncated"
    yield write("endless.png", png[:-12]), "image_truncated"
    yield write("checksum.png", _flipped(png, 60)), "image_damaged"
    yield write("bad-header.png", _flipped(png, 20)), "image_damaged"
    yield write("no-pixels.png", _chunks(_ihdr(80, 80), (b"IEND", b""))), "image_damaged"
    yield (
        write("short-pixels.png", _chunks(_ihdr(80, 80), _idat(bytes(100)), (b"IEND", b""))),
        "image_truncated",
    )
    yield (
        write("no-zlib.png", _chunks(_ihdr(80, 80), (b"IDAT", b"junk" * 50), (b"IEND", b""))),
        "image_damaged",
    )
    yield write("animated.png", _animated()), "image_animated"
    yield write("start.jpg", jpeg[:2]), "image_format_unsupported"
    yield write("header.jpg", jpeg[:200]), "image_truncated"
    yield write("half.jpg", jpeg[: len(jpeg) // 2]), "image_truncated"
    yield write("endless.jpg", jpeg[:-2]), "image_truncated"
    yield write("narrow.jpg", _encoded("JPEG", (20, 300))), "image_too_small"
    yield write("wide.jpg", _encoded("JPEG", (5000, 70))), "image_dimensions_too_large"
    (folder / "a-folder.png").mkdir()
    yield "a-folder.png", "source_not_a_file"
    os.mkfifo(folder / "pipe.png")
    yield "pipe.png", "source_not_a_file"
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(folder / "s.png"))
    yield "s.png", "source_not_a_file"
    yield "/dev/zero", "source_not_a_file"
    yield "/dev/null", "source_not_a_file"
    (folder / "dangling.png").symlink_to(folder / "nowhere.png")
    yield "dangling.png", "source_not_found"
    (folder / "circle.png").symlink_to(folder / "circle.png")
    yield "circle.png", "source_ref_invalid"
    yield "missing.png", "source_not_found"
    yield "../../../missing.png", "source_not_found"
    yield "x" * 5000 + ".png", "source_ref_invalid"
    yield "good.png/inside.png", "source_not_found"
    yield "s3://standin/../../etc/passwd", "source_ref_invalid"


def _line(**members: Any) -> bytes:
    return json.dumps(members).encode()


def _png(size: tuple[int, int]) -> bytes:
    return _encoded("PNG", size)


def _encoded(format_: str, size: tuple[int, int] = (80, 80)) -> bytes:
    out = io.BytesIO()
    noise = bytes((x * 31 + x // 7) % 256 for x in range(size[0] * size[1]))
    Image.frombytes("L", size, noise).convert("RGB").save(out, format_)
    return out.getvalue()


def _animated() -> bytes:
    out = io.BytesIO()
    frames = [Image.new("RGB", (80, 80), shade) for shade in ("red", "blue")]
    frames[0].save(out, "PNG", save_all=True, append_images=frames[1:])
    return out.getvalue()


def _flipped(data: bytes, position: int) -> bytes:
    changed = bytearray(data)
    changed[position] ^= 0xFF
    return bytes(changed)


def _chunks(*chunks: tuple[bytes, bytes]) -> bytes:
    out = b"\x89PNG\r\n\x1a\n"
    for name, body in chunks:
        out += struct.pack(">I", len(body)) + name + body
        out += struct.pack(">I", zlib.crc32(name + body))
    return out


def _ihdr(width: int, height: int) -> tuple[bytes, bytes]:
    return b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)


def _idat(pixels: bytes) -> tuple[bytes, bytes]:
    return b"IDAT", zlib.compress(pixels)


def _header_only(width: int, height: int) -> bytes:
    return _chunks(_ihdr(width, height), _idat(bytes(10)), (b"IEND", b""))
