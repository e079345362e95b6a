"""Finds faults of PNG and JPEG files that Pillow does not report, without decoding pixels.

Before Pillow decodes a file, this module walks through its container. It detects a missing end,
incomplete pixel data (which Pillow fills with black without an error), JPEGs with far more scans
than encoders write, and several pictures in one file. It drops metadata, because Pillow would
inflate text chunks and colour profiles of any size on opening a file.

Formats: ISO/IEC 15948 (PNG, third edition, with APNG), ITU-T T.81 (JPEG), CIPA DC-007
(multi-picture format).
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from lfv.formats.errors import (
    ImageAnimated,
    ImageDamaged,
    ImageEncodingUnsupported,
    ImageMultiPicture,
    ImageTruncated,
)

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
JPEG_SIGNATURE = b"\xff\xd8\xff"
#: Maximum number of scans of a JPEG. Encoders write about ten; each costs a pass over all pixels.
MAX_SCANS = 100

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
_ORIENTATION = 0x0112


@dataclass(frozen=True)
class Container:
    """A file without its metadata.

    Attributes:
        data: The parts of the file that a decoder needs.
        exif_orientation: 1 to 8; None if the file has none.
        pixel_parts: A PNG's compressed pixel data.
    """

    data: bytes
    exif_orientation: int | None
    pixel_parts: Sequence[memoryview] = ()


#: The placeholder of a file in a repository that was cloned without its large files.
LFS_POINTER = "Git LFS pointer"

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
    (b"version https://git-lfs", LFS_POINTER),
)


#: Formats that can be converted to PNG on request, with Pillow's names.
CONVERTIBLE = {"BMP": "BMP", "TIFF": "TIFF", "WebP": "WEBP"}


def sniff(data: bytes) -> str | None:
    """Return the format by the first bytes ('PNG', 'JPEG', 'WebP' ...), None if unknown."""
    for signature, name in _SIGNATURES:
        if data.startswith(signature):
            return name
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WebP"
    if data[4:8] == b"ftyp":
        return "AVIF" if data[8:12] in (b"avif", b"avis") else "HEIC or another ISO media"
    if data[128:132] == b"DICM":
        return "DICOM"
    start = data[:256].lstrip()
    if start[:1] == b"<":
        return "HTML, SVG or XML"
    if start[:1] in (b"{", b"["):
        return "JSON"
    return None


# -- PNG ------------------------------------------------------------------------------------------


def read_png(data: bytes) -> Container:
    """Read all chunks of a PNG and verify their checksums.

    Raises:
        ImageTruncated: The end is missing.
        ImageDamaged: A chunk violates the format.
        ImageAnimated: The file is an animation.
    """
    kept = [PNG_SIGNATURE]
    position = len(PNG_SIGNATURE)
    orientation = None
    pixels: list[memoryview] = []
    for _ in range(_MAX_CHUNKS):
        if position + 12 > len(data):
            break
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length
        if length > 0x7FFFFFFF or not kind.isalpha():
            raise ImageDamaged("The PNG is damaged: a chunk has an invalid header.")
        if end > len(data):
            break
        body = memoryview(data)[position + 8 : end - 4]
        if zlib.crc32(body, zlib.crc32(kind)) != struct.unpack_from(">I", data, end - 4)[0]:
            name = kind.decode("ascii")
            raise ImageDamaged(f"The PNG is damaged: the checksum of a {name} chunk is wrong.")
        if (kind == b"IHDR") != (len(kept) == 1 and position == len(PNG_SIGNATURE)):
            raise ImageDamaged("The PNG is damaged: its header is missing, misplaced or repeated.")
        if kind == b"acTL":
            raise ImageAnimated("The PNG is animated; the service accepts only still images.")
        if kind == b"eXIf":
            orientation = exif_orientation(bytes(body))
        elif kind == b"IDAT":
            pixels.append(body)
        if kind in _PNG_KEPT:
            kept.append(data[position:end])
        position = end
        if kind == b"IEND":
            if not pixels:
                raise ImageDamaged("The PNG is damaged: it has no pixel data.")
            return Container(b"".join(kept), orientation, pixels)
    else:
        raise ImageDamaged(f"The PNG is damaged: it has more than {_MAX_CHUNKS:,} chunks.")
    raise ImageTruncated("The PNG is truncated: it ends before its end marker.")


def check_png_pixels(png: Container) -> None:
    """Compare the length of the pixel data with the dimensions, using little memory.

    Raises:
        ImageTruncated: Rows are missing.
        ImageDamaged: The data cannot be inflated.
    """
    inflate = zlib.decompressobj()
    missing = _raw_size(*struct.unpack_from(">IIBBBBB", png.data, 16))
    try:
        for part in png.pixel_parts:
            data: bytes | memoryview = part
            while data and missing > 0 and not inflate.eof:
                missing -= len(inflate.decompress(data, min(missing, _INFLATE_STEP)))
                data = inflate.unconsumed_tail
    except zlib.error:
        raise ImageDamaged("The PNG is damaged: its pixel data cannot be decoded.") from None
    if missing > 0:
        raise ImageTruncated("The PNG is truncated: some of its pixel data is missing.")


def _raw_size(
    width: int,
    height: int,
    bits: int,
    color_type: int,
    _method: int,
    _filters: int,
    interlaced: int,
) -> int:
    """Return the size in bytes of all rows, each with its filter byte."""
    bits_a_pixel = bits * _SAMPLES[color_type]
    total = 0
    for left, top, across, down in _ADAM7 if interlaced else ((0, 0, 1, 1),):
        columns = -(-(width - left) // across)
        rows = -(-(height - top) // down)
        if columns > 0 and rows > 0:
            total += rows * (1 + (columns * bits_a_pixel + 7) // 8)
    return total


# -- JPEG -----------------------------------------------------------------------------------------

# A marker after entropy-coded data: FF, not followed by a stuffed zero, a restart or a fill byte.
# The pattern starts with one literal byte, which is found ten times as fast as a repeated one.
_MARKER_IN_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)
_SOF = frozenset({0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF})
_SOF_PROGRESSIVE = 0xC2
_SOF_DECODABLE = frozenset({0xC0, 0xC1, 0xC2})  # baseline, extended and progressive Huffman
_STANDALONE = frozenset({0x01, *range(0xD0, 0xD8)})
_APP1, _APP2 = 0xE1, 0xE2
_APP14 = 0xEE  # Adobe's segment, from which decoders learn how CMYK and YCCK are stored
_GAIN_MAP = re.compile(rb"hdrgm:Version|HDRGainMap|urn:iso:std:iso:ts:21496")
_MP_ENTRY = 0xB002
_THUMBNAIL = 0x010000


def read_jpeg(data: bytes) -> Container:
    """Read all segments of a JPEG up to the end marker, ignoring any data after it.

    Raises:
        ImageTruncated: The end or some of the scans are missing.
        ImageDamaged: A segment violates the format.
        ImageEncodingUnsupported: Decoders do not support the encoding, or would take too long.
        ImageMultiPicture: The file holds several pictures that are not previews or gain maps.
    """
    truncated = ImageTruncated("The JPEG is truncated: it ends before its end marker.")
    kept = [b"\xff\xd8"]
    position = 2
    orientation: int | None = None
    pictures: bytes | None = None
    has_frame = has_gain_map = False
    scans = 0
    coverage = _Coverage(b"", progressive=False)
    for _ in range(_MAX_CHUNKS):
        marker_at = data.find(b"\xff", position)
        if marker_at < 0:
            raise truncated
        if marker_at != position:
            raise ImageDamaged("The JPEG is damaged: it has stray bytes between its segments.")
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
            raise ImageDamaged(
                "The JPEG is damaged: it has an invalid marker between its segments."
            )
        if position + 4 > len(data):
            raise truncated
        length = struct.unpack_from(">H", data, position + 2)[0]
        end = position + 2 + length
        if length < 2:
            raise ImageDamaged("The JPEG is damaged: a segment has an invalid length.")
        if end > len(data):
            raise truncated
        body = data[position + 4 : end]
        if marker in _SOF:
            _check_frame(marker, body, already=has_frame)
            has_frame = True
            coverage = _Coverage(body, progressive=marker == _SOF_PROGRESSIVE)
        elif marker == _APP1 and body.startswith(b"Exif\x00\x00") and orientation is None:
            orientation = exif_orientation(body[6:])
        elif marker == _APP2 and body.startswith(b"MPF\x00"):
            pictures = body[4:]
        if marker in (_APP1, _APP2):
            has_gain_map = has_gain_map or _GAIN_MAP.search(body) is not None
        if marker == 0xDA:
            if not has_frame:
                raise ImageDamaged("The JPEG is damaged: its pixel data precedes its header.")
            match = _MARKER_IN_SCAN.search(data, end)
            if match is None:
                raise truncated
            scans += 1
            coverage.add(body)
            if scans > MAX_SCANS:
                raise ImageEncodingUnsupported(
                    f"The JPEG has more than {MAX_SCANS} scans; save it with fewer."
                )
            end = match.end() - 2
        if (not 0xE0 <= marker <= 0xEF and marker != 0xFE) or marker == _APP14:
            kept.append(data[position:end])
        position = end
    else:
        raise ImageDamaged(f"The JPEG is damaged: it has more than {_MAX_CHUNKS:,} segments.")
    if not scans:
        raise ImageDamaged("The JPEG is damaged: it has no pixel data.")
    if not coverage.complete:
        raise ImageTruncated("The JPEG is truncated: some of its scans are missing.")
    if pictures is not None and not has_gain_map and not _only_thumbnails(pictures):
        raise ImageMultiPicture("The JPEG contains several images; the service accepts only one.")
    kept.append(b"\xff\xd9")
    return Container(b"".join(kept), orientation)


def _check_frame(marker: int, body: bytes, *, already: bool) -> None:
    """Check a frame header: precision, height, width, components."""
    if already or len(body) < 6:
        raise ImageDamaged("The JPEG is damaged: its header is invalid.")
    if marker not in _SOF_DECODABLE or body[0] != 8:
        raise ImageEncodingUnsupported(
            "The JPEG uses a rare encoding (12-bit, lossless, hierarchical or arithmetic); "
            "save it as an 8-bit baseline or progressive JPEG."
        )


class _Coverage:
    """Tracks which coefficients of each component the scans of a JPEG contain, to the last bit.

    A file that was cut off between two scans decodes without a warning, blurred or without colour.
    """

    def __init__(self, frame: bytes, *, progressive: bool) -> None:
        needed = range(64) if progressive else range(1)
        self._missing = {component: set(needed) for component in frame[6::3]}

    def add(self, scan: bytes) -> None:
        """Add a scan by its header: components, first and last coefficient, and lowest bit."""
        count = scan[0] if scan else 0
        if len(scan) < 4 + 2 * count:
            raise ImageDamaged("The JPEG is damaged: the header of a scan is truncated.")
        first, last, bits = scan[1 + 2 * count : 4 + 2 * count]
        for component in scan[1 : 1 + 2 * count : 2]:
            if not bits & 15:
                self._missing.get(component, set()).difference_update(range(first, last + 1))

    @property
    def complete(self) -> bool:
        """Whether no coefficient is missing."""
        return not any(self._missing.values())


def _only_thumbnails(mpf: bytes) -> bool:
    """Whether all pictures except the first are previews, by the types of their MP entries."""
    order, tags = _tiff_tags(mpf)
    _, size, start = tags.get(_MP_ENTRY, (0, 0, 0))
    entries = mpf[start : start + size]
    if not size or size % 16 or len(entries) < size:
        return False
    kinds = [kind for kind, *_ in struct.iter_unpack(f"{order}IIIHH", entries)]
    return all(kind & 0xFF0000 == _THUMBNAIL for kind in kinds[1:])


# -- TIFF directories -----------------------------------------------------------------------------


def exif_orientation(tiff: bytes) -> int | None:
    """Return the orientation tag (1 to 8) of a TIFF structure; None if missing or unreadable."""
    order, tags = _tiff_tags(tiff)
    kind, values, value = tags.get(_ORIENTATION, (0, 0, 0))
    value = value >> 16 if order == ">" else value & 0xFFFF  # the first two of its four bytes
    return value if kind == 3 and values == 1 and 1 <= value <= 8 else None


def _tiff_tags(tiff: bytes) -> tuple[str, dict[int, tuple[int, int, int]]]:
    """Return byte order, and (type, count, value or offset) of each tag in the first directory.

    Pillow is not used because it reports odd Exif through the process-wide `warnings`.
    """
    order = {b"II*\x00": "<", b"MM\x00*": ">"}.get(tiff[:4], "")
    tags: dict[int, tuple[int, int, int]] = {}
    if not order or len(tiff) < 8:
        return order, tags
    start = struct.unpack_from(f"{order}I", tiff, 4)[0]
    if start + 2 > len(tiff):
        return order, tags
    for index in range(struct.unpack_from(f"{order}H", tiff, start)[0]):
        at = start + 2 + 12 * index
        if at + 12 > len(tiff):
            break
        tag, *entry = struct.unpack_from(f"{order}HHII", tiff, at)
        tags.setdefault(tag, (entry[0], entry[1], entry[2]))
    return order, tags
