"""Plain lists, folders, prefixes, and how each kind is detected."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest

from lfv.client.manifests import manifest_digest, manifest_kind, read_manifest
from lfv.client.sources import SourceReader
from lfv.formats.errors import (
    ManifestError,
    ManifestKindUnknown,
    SourceNotAFile,
    SourceNotFound,
)
from lfv.formats.manifest.records import BadLine, ManifestItem, ManifestKind
from tests.support.manifests import good, read


def test_text(tmp_path: Path) -> None:
    records = read(tmp_path / "m.txt", "a.png\n\n  b c.png  \r\ns3://parts/c.png\nhttp://x/d.png\n")
    refs = [r.source_ref if isinstance(r, ManifestItem) else r.code for r in records]
    assert refs == [
        str(tmp_path / "a.png"),
        str(tmp_path / "b c.png"),
        "s3://parts/c.png",
        "source_scheme_unsupported",
    ]
    assert [record.line_number for record in records] == [1, 3, 4, 5]


# -- folders and prefixes -------------------------------------------------------------------------


def fill(folder: Path, png: bytes) -> None:
    for name in (
        "b.png",
        "a/2.JPG",
        "a/10.jpeg",
        "a.b/x.png",
        "normal/n.png",
        "anomaly/deep/er/x.png",
        "old.tiff",
        "notes.txt",
        "Thumbs.db",
        "train.manifest",
        ".hidden.png",
        ".git/x.png",
        "a/._2.JPG",
        "no-ending",
        "wrong.dat",
    ):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png if name in ("no-ending", "wrong.dat") else b"content unread")


def test_a_folder(tmp_path: Path, png: bytes) -> None:
    fill(tmp_path, png)
    os.mkfifo(tmp_path / "pipe")
    records = good(list(read_manifest(str(tmp_path), SourceReader())))
    assert [record.written_ref for record in records] == [
        "a.b/x.png",
        "a/10.jpeg",
        "a/2.JPG",
        "anomaly/deep/er/x.png",
        "b.png",
        "no-ending",
        "normal/n.png",
        "old.tiff",
        "wrong.dat",
    ]
    assert [record.line_number for record in records] == list(range(1, 10))
    labels = {record.written_ref: record.is_anomalous for record in records}
    assert labels["anomaly/deep/er/x.png"] is True
    assert labels["normal/n.png"] is False
    assert labels["b.png"] is None
    assert records[0].source_ref == str(tmp_path / "a.b/x.png")


def test_a_folder_given_by_a_relative_path(
    tmp_path: Path, png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lot").mkdir()
    (tmp_path / "lot" / "a.png").write_bytes(png)
    monkeypatch.chdir(tmp_path)
    for source in ("lot", "lot/", "./lot", f"file://{tmp_path}/lot"):
        (record,) = good(list(read_manifest(source, SourceReader())))
        assert record.source_ref == str(tmp_path / "lot" / "a.png")


def test_links_in_folders(tmp_path: Path, png: bytes) -> None:
    (tmp_path / "lot").mkdir()
    (tmp_path / "elsewhere.png").write_bytes(png)
    (tmp_path / "lot" / "link.png").symlink_to(tmp_path / "elsewhere.png")
    (tmp_path / "lot" / "round").symlink_to(tmp_path / "lot")
    (record,) = good(list(read_manifest(str(tmp_path / "lot"), SourceReader())))
    assert record.written_ref == "link.png"


def test_a_link_that_cannot_be_followed_hides_no_image_beside_it(
    tmp_path: Path, png: bytes
) -> None:
    for folder in ("lot/test/bent", "lot/ground_truth/bent"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "lot/test/bent/a.png").write_bytes(png)
    (tmp_path / "lot/ground_truth/bent/a_mask.png").write_bytes(png)
    for link in ("test/bent/to-itself.png", "test/to-itself", "ground_truth/to-itself", "aside"):
        (tmp_path / "lot" / link).symlink_to(Path(link).name)
    found = {}
    for line in read_manifest(str(tmp_path / "lot" / "test"), SourceReader()):
        if isinstance(line, ManifestItem):
            found[line.written_ref] = line.mask_ref is not None
        else:
            found[Path(line.text).name] = line.code
    assert found == {
        "bent/a.png": True,
        "bent/to-itself.png": False,
        "to-itself": "source_ref_invalid",
    }


def test_names_that_are_not_text(tmp_path: Path) -> None:
    raw = os.fsencode(tmp_path) + b"/\xff.png"
    try:
        Path(os.fsdecode(raw)).write_bytes(b"")
    except OSError:
        pytest.skip("this file system takes no such names")
    (record,) = list(read_manifest(str(tmp_path), SourceReader()))
    assert isinstance(record, BadLine)
    assert record.code == "not_utf8"
    assert "\\xff.png" in record.text
    assert len(manifest_digest(str(tmp_path), SourceReader())) == 64


def test_an_unreadable_subfolder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "locked").mkdir()
    (tmp_path / "b.png").write_bytes(b"")
    scandir = os.scandir

    def refuse(path: str | Path) -> object:
        if Path(path).name == "locked":
            raise PermissionError(13, "no")
        return scandir(path)

    monkeypatch.setattr("os.scandir", refuse)
    records = list(read_manifest(str(tmp_path), SourceReader()))
    assert isinstance(records[0], ManifestItem)
    assert isinstance(records[1], BadLine)
    assert records[1].code == "source_forbidden"


@pytest.mark.parametrize("source", ["s3://parts/", "s3://parts"])
def test_a_prefix(reader: SourceReader, bucket: Path, png: bytes, source: str) -> None:
    fill(bucket, png)
    (bucket / "empty-folder").mkdir()
    records = good(list(read_manifest(source, reader)))
    assert [record.written_ref for record in records] == [
        "a.b/x.png",
        "a/10.jpeg",
        "a/2.JPG",
        "anomaly/deep/er/x.png",
        "b.png",
        "no-ending",
        "normal/n.png",
        "old.tiff",
    ]
    assert records[0].source_ref == "s3://parts/a.b/x.png"
    inner = good(list(read_manifest("s3://parts/a/", reader)))
    assert [record.written_ref for record in inner] == ["10.jpeg", "2.JPG"]
    assert inner[0].source_ref == "s3://parts/a/10.jpeg"


def test_digests_of_listings(tmp_path: Path, reader: SourceReader, bucket: Path) -> None:
    (bucket / "a.png").write_bytes(b"")
    folder = manifest_digest(str(bucket), reader)
    assert folder == manifest_digest("s3://parts/", reader)
    (bucket / "b.png").write_bytes(b"")
    assert manifest_digest(str(bucket), reader) != folder


# -- which is which -------------------------------------------------------------------------------

JSON_LINE = b'{"source-ref": "a.png"}\n'


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("m.manifest", JSON_LINE, ManifestKind.JSON_LINES),
        ("m.jsonl", JSON_LINE, ManifestKind.JSON_LINES),
        ("m.NDJSON", JSON_LINE, ManifestKind.JSON_LINES),
        ("m.json", JSON_LINE, ManifestKind.JSON_LINES),
        ("m", JSON_LINE, ManifestKind.JSON_LINES),
        ("m.data", b"\xef\xbb\xbf\n " + JSON_LINE, ManifestKind.JSON_LINES),
        ("m.txt", JSON_LINE, ManifestKind.JSON_LINES),
        ("m.manifest", b"a.png\n", ManifestKind.JSON_LINES),
        ("m.manifest", b"", ManifestKind.JSON_LINES),
        ("m.csv", b"source-ref\n", ManifestKind.CSV),
        ("m.csv", b"{source-ref}\n", ManifestKind.CSV),
        ("m.tsv", b"source-ref\n", ManifestKind.CSV),
        ("m.txt", b"a.png\n", ManifestKind.TEXT),
        ("m.txt", b"", ManifestKind.TEXT),
        ("m.lst", b"a.png\n", ManifestKind.TEXT),
        ("m.png", b"\x89PNG\r\n\x1a\n", ManifestKind.IMAGE),
        ("m.manifest", b"\xff\xd8\xff\xe0", ManifestKind.IMAGE),
        ("m.tiff", b"II*\x00", ManifestKind.IMAGE),
        ("m.bmp", b"BM1234", ManifestKind.IMAGE),
        ("m", b"RIFF1234WEBP", ManifestKind.IMAGE),
        ("m.txt", b"BM/part.png\n", ManifestKind.TEXT),
    ],
)
def test_kinds(
    reader: SourceReader, bucket: Path, name: str, content: bytes, kind: ManifestKind
) -> None:
    (bucket / name).write_bytes(content)
    assert manifest_kind(str(bucket / name), reader) is kind
    assert manifest_kind(f"s3://parts/{name}", reader) is kind


@pytest.mark.parametrize(
    ("name", "content", "hint"),
    [
        ("m.json", b"[]", "JSON array"),
        ("m.manifest.gz", gzip.compress(JSON_LINE, mtime=0), "gzip"),
        ("m.zip", b"PK\x03\x04", "ZIP"),
        ("m.xlsx", b"PK\x03\x04", "ZIP"),
        ("m.yaml", b"a: 1", ".manifest"),
        ("m", b"a.png\n", ".txt"),
        ("m", b"", ".txt"),
    ],
)
def test_unknown_kinds(
    reader: SourceReader, bucket: Path, name: str, content: bytes, hint: str
) -> None:
    (bucket / name).write_bytes(content)
    with pytest.raises(ManifestKindUnknown, match=hint):
        manifest_kind(str(bucket / name), reader)


def test_a_prefix_without_its_slash(reader: SourceReader, bucket: Path) -> None:
    (bucket / "lot").mkdir()
    with pytest.raises(SourceNotAFile):
        manifest_kind("s3://parts/lot", reader)
    (bucket / "lot" / "a.png").write_bytes(b"")
    with pytest.raises(ManifestKindUnknown, match="write s3://parts/lot/ to read"):
        manifest_kind("s3://parts/lot", reader)


def test_a_kind_can_be_given(tmp_path: Path, reader: SourceReader, bucket: Path) -> None:
    (record,) = good(read(tmp_path / "m", "a.png\n", ManifestKind.TEXT))
    assert record.written_ref == "a.png"
    with pytest.raises(ManifestError):
        list(read_manifest(str(tmp_path), reader, kind=ManifestKind.PREFIX))
    with pytest.raises(ManifestError):
        list(read_manifest("s3://parts/x", reader, kind=ManifestKind.FOLDER))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
def test_other_encodings(tmp_path: Path, encoding: str) -> None:
    with pytest.raises(ManifestError, match="UTF-8"):
        read(tmp_path / "m.manifest", JSON_LINE.decode().encode(encoding))


def test_a_single_image(reader: SourceReader, bucket: Path, png: bytes) -> None:
    (bucket / "a.png").write_bytes(png)
    (local,) = good(list(read_manifest(str(bucket / "a.png"), reader)))
    assert (local.line_number, local.source_ref) == (1, str(bucket / "a.png"))
    (remote,) = good(list(read_manifest("s3://parts/a.png", reader)))
    assert remote.source_ref == "s3://parts/a.png"


def test_files_that_are_not_manifests(reader: SourceReader, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SourceNotAFile):
        manifest_kind(str(tmp_path / "pipe"), reader)
    with pytest.raises(SourceNotFound):
        manifest_kind(str(tmp_path / "none"), reader)
