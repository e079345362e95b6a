"""Files, and folders in place of buckets: limits, containment, and an error for each failure."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path

import pytest

from lfv.client.sources import SourceReader
from lfv.client.stores import (
    BucketFolder,
    OpenObject,
    TranslatedReads,
    absolute_source,
    translate_os_error,
)
from lfv.formats.errors import (
    SourceError,
    SourceForbidden,
    SourceNotAFile,
    SourceNotFound,
    SourceOutside,
    SourceRefInvalid,
    SourceTooLarge,
    SourceUnavailable,
)
from lfv.formats.refs import S3Ref


def test_paths_addresses_and_buckets(reader: SourceReader, bucket: Path, tmp_path: Path) -> None:
    (bucket / "a").mkdir()
    (bucket / "a" / "b c.bin").write_bytes(b"content")
    for ref in (
        "s3://parts/a/b c.bin",
        str(bucket / "a" / "b c.bin"),
        f"file://{bucket}/a/b%20c.bin",
    ):
        assert reader.read_bytes(ref) == b"content"
    with reader.open("s3://parts/a/b c.bin") as source:
        assert list(source.stream) == [b"content"]


def test_bounds(reader: SourceReader, bucket: Path) -> None:
    (bucket / "x").write_bytes(b"12345")
    assert reader.read_bytes("s3://parts/x", limit=5) == b"12345"
    with pytest.raises(SourceTooLarge, match="5 bytes"):
        reader.read_bytes("s3://parts/x", limit=4)


def test_a_file_that_grows_while_it_is_read(
    reader: SourceReader, bucket: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (bucket / "x").write_bytes(b"12345")
    opened = reader.open("s3://parts/x")
    monkeypatch.setattr(reader, "open", lambda _: OpenObject(opened.stream, 2))
    with pytest.raises(SourceTooLarge):
        reader.read_bytes("s3://parts/x", limit=4)


def test_missing_files(reader: SourceReader, bucket: Path, tmp_path: Path) -> None:
    (bucket / "file").write_bytes(b"")
    for ref in ("s3://parts/none", str(tmp_path / "none"), "s3://parts/file/below"):
        with pytest.raises(SourceNotFound):
            reader.read_bytes(ref)


def test_not_a_file(reader: SourceReader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        monkeypatch.chdir(tmp_path)  # a socket has a short path
        listening.bind("socket")
        for ref in (tmp_path, tmp_path / "pipe", tmp_path / "socket", Path("/dev/zero")):
            with pytest.raises(SourceNotAFile):
                reader.read_bytes(str(ref))


def test_no_permission(reader: SourceReader, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"x")
    (tmp_path / "secret").chmod(0)
    if os.geteuid() != 0:
        with pytest.raises(SourceForbidden):
            reader.read_bytes(str(tmp_path / "secret"))
    assert isinstance(translate_os_error(PermissionError(13, "no"), "x"), SourceForbidden)


def test_names_that_no_file_system_accepts(reader: SourceReader, tmp_path: Path) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    for ref in (str(tmp_path / ("n" * 300)), str(loop)):
        with pytest.raises(SourceRefInvalid):
            reader.read_bytes(ref)


def test_a_failing_disk_is_retried() -> None:
    assert isinstance(translate_os_error(OSError(5, "EIO"), "x"), SourceUnavailable)
    assert translate_os_error(OSError(24, "EMFILE"), "x").retryable


def test_a_broken_transfer_is_retried(
    reader: SourceReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = []

    def broken_once(_: object) -> OpenObject:
        tries.append(1)
        chunks = [b"whole", b""] if len(tries) > 1 else []

        def read(size: int) -> bytes:
            if not chunks:
                raise OSError(5, "EIO")
            return chunks.pop(0)

        stream = TranslatedReads(
            read,
            lambda: None,
            lambda e: translate_os_error(e, "x") if isinstance(e, OSError) else None,
        )
        return OpenObject(stream.buffer(), None)

    monkeypatch.setattr(reader, "open", broken_once)
    assert reader.read_bytes("x") == b"whole"
    monkeypatch.setattr(reader, "open", lambda _: broken_always())

    def broken_always() -> OpenObject:
        tries.clear()
        return broken_once(None)

    with pytest.raises(SourceUnavailable):
        reader.read_bytes("x")


# -- folders in place of buckets ------------------------------------------------------------------


@pytest.mark.parametrize(
    "key", ["../outside", "a/../../outside", "..", "./a", "a/./b", "/etc/passwd", "a//b", "a/b/.."]
)
def test_keys_cannot_leave_the_folder(reader: SourceReader, tmp_path: Path, key: str) -> None:
    (tmp_path / "outside").write_bytes(b"secret")
    with pytest.raises(SourceRefInvalid):
        reader.read_bytes(S3Ref("parts", key))


def test_symlinks_cannot_leave_the_folder(
    reader: SourceReader, bucket: Path, tmp_path: Path
) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "x").write_bytes(b"secret")
    (bucket / "file-link").symlink_to(tmp_path / "outside" / "x")
    (bucket / "folder-link").symlink_to(tmp_path / "outside")
    for key in ("file-link", "folder-link/x"):
        with pytest.raises(SourceOutside):
            reader.read_bytes(f"s3://parts/{key}")
        with pytest.raises(SourceOutside):
            BucketFolder("parts", bucket).put(key, b"overwritten")
    assert (tmp_path / "outside" / "x").read_bytes() == b"secret"


def test_symlinks_inside_are_fine(reader: SourceReader, bucket: Path) -> None:
    (bucket / "x").write_bytes(b"content")
    (bucket / "link").symlink_to(bucket / "x")
    assert reader.read_bytes("s3://parts/link") == b"content"


def test_a_bucket_folder_may_itself_be_a_symlink(bucket: Path, tmp_path: Path) -> None:
    (bucket / "x").write_bytes(b"content")
    (tmp_path / "alias").symlink_to(bucket)
    assert SourceReader({"parts": tmp_path / "alias"}).read_bytes("s3://parts/x") == b"content"


def test_listing_in_the_order_of_s3(reader: SourceReader, bucket: Path) -> None:
    for key in ("a/x", "a-b/x", "a.png", "a/b/c", "B", "é", "z/"):
        path = bucket / key
        if key.endswith("/"):
            path.mkdir()
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    keys = [ref.key for ref in reader.list("s3://parts/")]
    assert keys == sorted(("a/x", "a-b/x", "a.png", "a/b/c", "B", "é"), key=str.encode)
    assert [ref.key for ref in reader.list("s3://parts/a")] == ["a-b/x", "a.png", "a/b/c", "a/x"]
    assert [ref.key for ref in reader.list("s3://parts/a/")] == ["a/b/c", "a/x"]
    assert list(reader.list("s3://parts/none/")) == []


def test_listing_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(SourceNotFound, match="folder of bucket"):
        list(SourceReader({"parts": tmp_path / "none"}).list("s3://parts/"))


def test_listing_takes_prefixes_only(reader: SourceReader) -> None:
    with pytest.raises(SourceRefInvalid):
        list(reader.list("/some/folder"))


def test_put_is_atomic_and_visible_to_readers(bucket: Path, tmp_path: Path) -> None:
    store = BucketFolder("parts", bucket)
    (tmp_path / "local").write_bytes(b"local")
    store.put("deep/er/bytes", b"bytes")
    store.put("deep/er/file", tmp_path / "local")
    assert store.size_of("deep/er/bytes") == 5
    assert store.size_of("deep/er") is None
    assert store.size_of("none") is None
    assert sorted(store.list("")) == ["deep/er/bytes", "deep/er/file"]
    store.put("deep/er/bytes", b"other")
    assert store.open("deep/er/bytes").stream.read() == b"other"
    with pytest.raises(SourceError):
        store.put("deep/er/missing", tmp_path / "none")
    assert sorted(path.name for path in (bucket / "deep" / "er").iterdir()) == ["bytes", "file"]


def test_a_reader_is_shared_by_threads(reader: SourceReader, bucket: Path) -> None:
    (bucket / "x").write_bytes(b"content")
    seen: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: seen.append(reader.read_bytes("s3://parts/x")))
        for _ in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [b"content"] * 16


def test_a_recorded_source_is_found_from_every_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert absolute_source("lot/train.manifest") == str(tmp_path / "lot" / "train.manifest")
    assert absolute_source("/lots/7") == "/lots/7"
    assert absolute_source("s3://lots/7/") == "s3://lots/7/"
