"""What the containers of PNG and JPEG files say, read without decoding a pixel.

Pillow reads these headers too, but it warns through the process-wide `warnings` module, follows
process-wide switches (`MAX_IMAGE_PIXELS`, `LOAD_TRUNCATED_IMAGES`) and inflates text chunks while
opening. Reading them here keeps the checks free of global state and safe in threads, and gives
Pillow only what it needs to decode: `pixel_data` is the file without its metadata.

Formats: ISO/IEC 15948 (PNG, third edition, with APNG), ITU-T T.81 (JPEG), CIPA DC-008 (Exif),
CIPA DC-007 (multi-picture format).
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from lfv.formats.errors import (
    ImageAnimated,
    ImageDamaged,
    ImageEncodingUnsupported,
    ImageMultiPicture,
    ImageTruncated,
)

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
JPEG_SIGNATURE = b"\xff\xd8\xff"

_PNG_KEPT = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})
_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # of each pixel, by colour type
_ADAM7 = (  # left, top, step across, step down
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)
_INFLATE_STEP = 256 * 1024
_MAX_CHUNKS = 100_000  # an 8 MB file of empty chunks holds more than 600,000
_MAX_SCANS = 100  # a progressive JPEG has about ten; each costs a pass over the whole image


@dataclass(frozen=True)
class ImageHeader:
    """Sizes are pixels as stored, before any Exif rotation; `bits` is per sample.

    `compressed` and `raw_size` (bytes once inflated) are a PNG's pixel data.
    """

    format: Literal["PNG", "JPEG"]
    width: int
    height: int
    bits: int
    exif_orientation: int | None
    pixel_data: bytes
    compressed: Sequence[memoryview] = ()
    raw_size: int = 0


_SIGNATURES: tuple[tuple[bytes, str], ...] = (
    (PNG_SIGNATURE, "PNG"),
    (JPEG_SIGNATURE, "JPEG"),
    (b"GIF8", "GIF"),
    (b"BM", "BMP"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"8BPS", "Photoshop"),
    (b"%PDF", "PDF"),
    (b"\x00\x00\x00\x0cjP  ", "JPEG 2000"),
    (b"\xff\x0a", "JPEG XL"),
    (b"PK\x03\x04", "ZIP"),
    (b"\x1f\x8b", "gzip"),
)


def sniff(data: bytes) -> str | None:
    """The format that the first bytes announce ('PNG', 'JPEG', 'WebP' ...), None when unknown."""
    for signature, name in _SIGNATURES:
        if data.startswith(signature):
            return name
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WebP"
    if data[4:8] == b"ftyp":
        return "AVIF" if data[8:12] in (b"avif", b"avis") else "HEIC or another ISO media"
    start = data[:256].lstrip()
    if start[:1] == b"<":
        return "HTML, SVG or XML"
    if start[:1] in (b"{", b"["):
        return "JSON"
    return None


# -- PNG ------------------------------------------------------------------------------------------


def read_png(data: bytes) -> ImageHeader:
    """Walk all chunks and check their checksums.

    Raises ImageTruncated, ImageDamaged, ImageAnimated.
    """
    kept = [PNG_SIGNATURE]
    position = len(PNG_SIGNATURE)
    header: bytes | None = None
    orientation: int | None = None
    ended = has_palette = False
    pixels: list[memoryview] = []
    for _ in range(_MAX_CHUNKS):
        if position + 12 > len(data):
            break
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length
        if length > 0x7FFFFFFF or not kind.isalpha():
            raise ImageDamaged("The PNG is damaged: a chunk has an impossible header.")
        if end > len(data):
            break
        body = memoryview(data)[position + 8 : end - 4]
        if zlib.crc32(body, zlib.crc32(kind)) != struct.unpack_from(">I", data, end - 4)[0]:
            name = kind.decode("ascii")
            raise ImageDamaged(f"The PNG is damaged: the checksum of a chunk {name} is wrong.")
        if header is None and kind != b"IHDR":
            raise ImageDamaged("The PNG is damaged: it does not begin with its header.")
        if kind == b"IHDR":
            if header is not None or length != 13:
                raise ImageDamaged("The PNG is damaged: its header is wrong.")
            header = bytes(body)
        elif kind == b"acTL":
            raise ImageAnimated("The PNG is animated; the service takes still images.")
        elif kind == b"eXIf":
            orientation = exif_orientation(bytes(body))
        elif kind == b"PLTE":
            has_palette = True
        elif kind == b"IDAT":
            pixels.append(body)
        if kind in _PNG_KEPT:
            kept.append(data[position:end])
        position = end
        if kind == b"IEND":
            ended = True
            break
    else:
        raise ImageDamaged(f"The PNG is damaged: it has more than {_MAX_CHUNKS:,} chunks.")
    if header is None or not ended:
        raise ImageTruncated("The PNG is truncated: it ends before its end marker.")
    width, height, bits, colour, compression, filtering, interlace = struct.unpack(
        ">IIBBBBB", header
    )
    depths = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
    if bits not in depths.get(colour, ()) or compression or filtering or interlace > 1:
        raise ImageDamaged("The PNG is damaged: its header holds impossible values.")
    if not pixels:
        raise ImageDamaged("The PNG is damaged: it has no pixel data.")
    if colour == 3 and not has_palette:
        raise ImageDamaged("The PNG is damaged: its palette is missing.")
    size = _raw_size(width, height, bits * _SAMPLES[colour], interlaced=bool(interlace))
    return ImageHeader("PNG", width, height, bits, orientation, b"".join(kept), pixels, size)


def check_png_pixels(header: ImageHeader) -> None:
    """Whether the pixel data is as long as the dimensions ask for; Pillow takes less in silence.

    Call it once the dimensions are known to be bearable. Memory stays small.
    Raises ImageTruncated, ImageDamaged.
    """
    inflate = zlib.decompressobj()
    missing = header.raw_size
    try:
        for part in header.compressed:
            data: bytes | memoryview = part
            while data and missing > 0 and not inflate.eof:
                missing -= len(inflate.decompress(data, min(missing, _INFLATE_STEP)))
                data = inflate.unconsumed_tail
    except zlib.error:
        raise ImageDamaged("The PNG is damaged: its pixel data cannot be decoded.") from None
    if missing > 0:
        raise ImageTruncated("The PNG is truncated: some of its pixel data is missing.")


def _raw_size(width: int, height: int, bits: int, *, interlaced: bool) -> int:
    """Bytes of all rows, each with the byte for its filter."""
    passes = _ADAM7 if interlaced else ((0, 0, 1, 1),)
    total = 0
    for left, top, across, down in passes:
        columns = -(-(width - left) // across)
        rows = -(-(height - top) // down)
        if columns > 0 and rows > 0:
            total += rows * (1 + (columns * bits + 7) // 8)
    return total


# -- JPEG -----------------------------------------------------------------------------------------

# A marker after entropy-coded data: FF, then neither a stuffed zero, a restart nor a fill byte.
_MARKER_IN_SCAN = re.compile(rb"\xff+[^\x00\xd0-\xd7\xff]", re.DOTALL)
_SOF = frozenset({0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF})
_SOF_DECODABLE = frozenset({0xC0, 0xC1, 0xC2})  # baseline, extended and progressive Huffman
_STANDALONE = frozenset({0x01, *range(0xD0, 0xD8)})
_APP14 = 0xEE  # Adobe: says how CMYK and YCCK are stored, so the decoder needs it


def read_jpeg(data: bytes) -> ImageHeader:
    """Walk all segments up to the end marker.

    Raises ImageTruncated, ImageDamaged, ImageMultiPicture, ImageEncodingUnsupported.
    """
    truncated = ImageTruncated("The JPEG is truncated: it ends before its end marker.")
    kept = [b"\xff\xd8"]
    position = 2
    frame: tuple[int, int, int, int] | None = None
    orientation: int | None = None
    scans = 0
    for _ in range(_MAX_CHUNKS):
        marker_at = data.find(b"\xff", position)
        if marker_at < 0:
            raise truncated
        if marker_at != position:
            raise ImageDamaged("The JPEG is damaged: bytes between its segments.")
        while data[position : position + 2] == b"\xff\xff":  # fill bytes
            position += 1
        if position + 2 > len(data):
            raise truncated
        marker = data[position + 1]
        if marker == 0xD9:
            break
        if marker in _STANDALONE:
            position += 2
            continue
        if marker == 0x00 or marker == 0xD8:
            raise ImageDamaged("The JPEG is damaged: an impossible marker between its segments.")
        if position + 4 > len(data):
            raise truncated
        length = struct.unpack_from(">H", data, position + 2)[0]
        end = position + 2 + length
        if length < 2:
            raise ImageDamaged("The JPEG is damaged: a segment has an impossible length.")
        if end > len(data):
            raise truncated
        body = data[position + 4 : end]
        if marker in _SOF:
            frame = _read_frame(marker, body, already=frame is not None)
        elif marker == 0xE1 and body.startswith(b"Exif\x00\x00") and orientation is None:
            orientation = exif_orientation(body[6:])
        elif marker == 0xE2 and body.startswith(b"MPF\x00"):
            raise ImageMultiPicture("The JPEG holds several pictures; the service takes one.")
        if marker == 0xDA:
            if frame is None:
                raise ImageDamaged("The JPEG is damaged: pixel data before its header.")
            match = _MARKER_IN_SCAN.search(data, end)
            if match is None:
                raise truncated
            scans += 1
            if scans > _MAX_SCANS:
                raise ImageEncodingUnsupported(
                    f"The JPEG has more than {_MAX_SCANS} scans; save it with fewer."
                )
            end = match.end() - 2
        if (not 0xE0 <= marker <= 0xEF and marker != 0xFE) or marker == _APP14:
            kept.append(data[position:end])
        position = end
    else:
        raise ImageDamaged(f"The JPEG is damaged: it has more than {_MAX_CHUNKS:,} segments.")
    if frame is None or not scans:
        raise ImageDamaged("The JPEG is damaged: it has no pixel data.")
    kept.append(b"\xff\xd9")
    width, height, bits, _ = frame
    return ImageHeader("JPEG", width, height, bits, orientation, b"".join(kept))


def _read_frame(marker: int, body: bytes, *, already: bool) -> tuple[int, int, int, int]:
    """(width, height, bits, components) of a frame header."""
    if already or len(body) < 6:
        raise ImageDamaged("The JPEG is damaged: its header is wrong.")
    bits, height, width, components = struct.unpack_from(">BHHB", body)
    if marker not in _SOF_DECODABLE or bits != 8:
        raise ImageEncodingUnsupported(
            "The JPEG is encoded in a rare way (12-bit, lossless, hierarchical or arithmetic); "
            "save it as a baseline or progressive JPEG of 8 bits."
        )
    if components not in (1, 3, 4) or len(body) < 6 + 3 * components:
        raise ImageDamaged("The JPEG is damaged: its header holds impossible values.")
    return width, height, bits, components


# -- Exif -----------------------------------------------------------------------------------------


def exif_orientation(tiff: bytes) -> int | None:
    """The orientation tag (1 to 8) of a TIFF structure; None when absent or unreadable."""
    order = {b"II*\x00": "<", b"MM\x00*": ">"}.get(tiff[:4])
    if order is None or len(tiff) < 8:
        return None
    start = struct.unpack_from(f"{order}I", tiff, 4)[0]
    if start + 2 > len(tiff):
        return None
    count = struct.unpack_from(f"{order}H", tiff, start)[0]
    for index in range(count):
        at = start + 2 + 12 * index
        if at + 12 > len(tiff):
            return None
        tag, kind, values, value = struct.unpack_from(f"{order}HHIH", tiff, at)
        if tag == 0x0112:
            return value if kind == 3 and values == 1 and 1 <= value <= 8 else None
    return None
