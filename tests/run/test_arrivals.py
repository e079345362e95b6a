"""Detecting new images."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from lfv.client.manifests import read_manifest
from lfv.client.sources import SourceReader
from lfv.client.stores import file_state
from lfv.formats.errors import SourceError
from lfv.formats.manifest.records import ManifestItem
from lfv.run.arrivals import Arrivals
from lfv_store import ObjectStamp
from tests.support.pictures import make_pictures


def test_new_and_changed_images_are_listed_until_handled(tmp_path: Path) -> None:
    arrivals = Arrivals(str(tmp_path), SourceReader(), settle_seconds=0)
    assert not arrivals.look()
    first, second = make_pictures(tmp_path / "line-3", 2)
    (tmp_path / "notes.txt").write_text("not an image")
    (tmp_path / ".hidden.png").write_bytes(first.read_bytes())  # a run would leave it out
    keys = {f"line-3/{first.name}", f"line-3/{second.name}"}
    assert arrivals.look().keys() == keys
    assert arrivals.look().keys() == keys  # nobody has handled them yet
    arrivals.mark_handled(keys)
    assert not arrivals.look()
    first.write_bytes(first.read_bytes() + b"more")
    assert arrivals.look().keys() == {f"line-3/{first.name}"}


def test_what_a_run_would_inspect_is_noticed(tmp_path: Path) -> None:
    """Images behind a link to a folder and next to an unreadable file; a folder is not an image."""
    lot = tmp_path / "lot"
    make_pictures(tmp_path / "mounted", 1)
    (lot / "folder.png").mkdir(parents=True)
    (lot / "camera").symlink_to(tmp_path / "mounted")
    (lot / "round").symlink_to(lot)
    (lot / "to-itself.png").symlink_to("to-itself.png")
    reader = SourceReader()
    seen = Arrivals(str(lot), reader, settle_seconds=0).look()
    assert seen.keys() == {
        line.written_ref
        for line in read_manifest(str(lot), reader)
        if isinstance(line, ManifestItem)
    }
    assert len(seen) == 2


def test_files_count_when_they_no_longer_change(tmp_path: Path) -> None:
    now = time.time()
    arrivals = Arrivals(str(tmp_path), SourceReader(), 5, clock=lambda: now)
    make_pictures(tmp_path, 1)
    assert not arrivals.look()
    now += 6
    assert len(arrivals.look()) == 1


def test_keys_and_stamps_are_those_of_a_run(tmp_path: Path) -> None:
    """`look` returns the keys and stamps that runs on new images store."""
    (picture,) = make_pictures(tmp_path / "line-3", 1)
    make_pictures(tmp_path / "line-4", 1)
    state = file_state(str(picture))
    assert state is not None
    stamp = ObjectStamp(state.size_bytes, state.stamp)
    reader = SourceReader({"plant": tmp_path})
    for source in (str(tmp_path / "line-3"), "s3://plant/line-3/"):
        (line,) = read_manifest(source, reader)
        assert isinstance(line, ManifestItem)
        seen = Arrivals(source, reader, settle_seconds=0).look()
        assert seen.keys() == {line.written_ref}
        if "://" not in source:
            assert seen == {line.written_ref: stamp}


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="not a folder"):
        Arrivals(str(tmp_path / "no"), SourceReader(), settle_seconds=0).look()
