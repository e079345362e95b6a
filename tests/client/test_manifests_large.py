"""Many lines in little memory and little time."""

from __future__ import annotations

import io
import os
import time
from pathlib import Path

import pytest

from lfv.client.manifests import read_manifest
from lfv.client.sources import SourceReader
from lfv.client.stores import OpenObject
from lfv.formats.manifest.records import BadLine, ManifestItem
from lfv.formats.refs import Ref

LINES = 250_000
LINE = (
    b'{"source-ref":"s3://parts/lot/%07d.jpg","serial":"A-%07d","anomaly-label":0,'
    b'"anomaly-label-metadata":{"class-name":"normal","type":"groundtruth/image-classification"}}\n'
)


class Endless(io.RawIOBase):
    """Lines generated while they are read, so that the test needs no disk."""

    def __init__(self, lines: int) -> None:
        super().__init__()
        self._lines = lines
        self._next = 0
        self._left = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while len(self._left) < len(buffer) and self._next < self._lines:
            numbers = range(self._next, min(self._next + 2000, self._lines))
            self._left += b"".join(LINE % (n, n) for n in numbers)
            self._next = numbers.stop
        data, self._left = self._left[: len(buffer)], self._left[len(buffer) :]
        buffer[: len(data)] = data
        return len(data)


class EndlessReader(SourceReader):
    def open(self, ref: str | Ref) -> OpenObject:  # noqa: ARG002
        return OpenObject(io.BufferedReader(Endless(LINES), 65536), None)


def resident_bytes() -> int:
    statm = Path("/proc/self/statm")
    if not statm.exists():
        pytest.skip("this system does not report a process's memory in /proc")
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.slow
def test_memory_and_time_of_many_lines() -> None:
    records = read_manifest("s3://parts/big.manifest", EndlessReader())
    first = next(records)
    assert isinstance(first, ManifestItem)
    before = most = resident_bytes()
    began = time.process_time()  # CPU time, because the machine may be busy
    last: ManifestItem | BadLine = first
    for last in records:
        if last.line_number % 50_000 == 0:
            most = max(most, resident_bytes())
    seconds = time.process_time() - began
    assert isinstance(last, ManifestItem)
    assert last.line_number == LINES
    assert last.attributes == {"serial": f"A-{LINES - 1:07d}"}
    assert most - before < 16 * 1024 * 1024
    assert seconds < LINES / 25_000, f"{LINES / seconds:,.0f} lines a second"


def test_an_endless_line_takes_bounded_memory(tmp_path: Path) -> None:
    path = tmp_path / "m.manifest"
    with path.open("wb") as out:
        out.truncate(1_000_000_000)  # NUL bytes in a sparse file
    before = resident_bytes()
    records = list(read_manifest(str(path), SourceReader(), kind=None))
    assert resident_bytes() - before < 16 * 1024 * 1024
    (record,) = records
    assert isinstance(record, BadLine)
    assert record.code == "line_too_long"
