"""Noticing that images have come."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from lfv.client.sources import SourceReader
from lfv.formats.errors import SourceError
from lfv.run.arrivals import Arrivals
from tests.support.pictures import make_pictures


def test_images_that_came_or_changed_are_counted_until_they_are_handled(tmp_path: Path) -> None:
    arrivals = Arrivals(str(tmp_path), SourceReader(), settle_seconds=0)
    assert arrivals.look() == 0
    first, _ = make_pictures(tmp_path / "line-3", 2)
    (tmp_path / "notes.txt").write_text("no image")
    assert arrivals.look() == 2
    assert arrivals.look() == 2  # nobody has handled them yet
    arrivals.handled()
    assert arrivals.look() == 0
    first.write_bytes(first.read_bytes() + b"more")
    assert arrivals.look() == 1


def test_files_that_are_still_being_written_count_once_they_are_left_alone(tmp_path: Path) -> None:
    now = time.time()
    arrivals = Arrivals(str(tmp_path), SourceReader(), 5, clock=lambda: now)
    make_pictures(tmp_path, 1)
    assert arrivals.look() == 0
    arrivals.handled()
    now += 6
    assert arrivals.look() == 1


def test_a_prefix_is_watched_like_a_folder(tmp_path: Path) -> None:
    make_pictures(tmp_path / "line-3", 2)
    make_pictures(tmp_path / "line-4", 1)
    reader = SourceReader({"plant": tmp_path})
    assert Arrivals("s3://plant/line-3/", reader, settle_seconds=0).look() == 2


def test_a_folder_that_is_gone_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="not a folder"):
        Arrivals(str(tmp_path / "no"), SourceReader(), settle_seconds=0).look()
