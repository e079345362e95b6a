"""CSV, plain lists, folders, prefixes, and how each is told from the others."""

from __future__ import annotations

import gzip
import io
import os
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from lfv.client.manifests import manifest_digest, manifest_kind, read_manifest
from lfv.client.sources import SourceReader
from lfv.formats.errors import (
    ManifestError,
    ManifestHeaderInvalid,
    ManifestKindUnknown,
    SourceNotAFile,
    SourceNotFound,
)
from lfv.formats.labels import LabelNames
from lfv.formats.layout import Skipped, split_of
from lfv.formats.manifest.groundtruth import INSPECTION
from lfv.formats.manifest.records import BadLine, ManifestItem, ManifestKind

Records = list[ManifestItem | BadLine]


def read(path: Path, text: str | bytes, kind: ManifestKind | None = None) -> Records:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return list(read_manifest(str(path), SourceReader(), kind=kind))


def good(records: Records) -> list[ManifestItem]:
    assert all(isinstance(record, ManifestItem) for record in records), records
    return [record for record in records if isinstance(record, ManifestItem)]


# -- CSV ------------------------------------------------------------------------------------------


def test_csv(tmp_path: Path) -> None:
    text = 'serial,source-ref,label,comment\r\n1,a.png,normal,"x, ""y"""\r\n2,b.png,anomaly,\r\n'
    first, second = good(read(tmp_path / "m.csv", text))
    assert first == ManifestItem(
        line_number=2,
        source_ref=str(tmp_path / "a.png"),
        written_ref="a.png",
        is_anomalous=False,
        attributes={"serial": "1", "comment": 'x, "y"'},
    )
    assert (second.line_number, second.is_anomalous) == (3, True)


@pytest.mark.parametrize(
    "header",
    ["source-ref", "Source Ref", "SOURCE_REF", "image", "Image Path", "file", "filename", "uri"],
)
def test_names_of_the_source_column(tmp_path: Path, header: str) -> None:
    (record,) = good(read(tmp_path / "m.csv", f"n,{header}\n7,a.png\n"))
    assert (record.written_ref, record.attributes) == ("a.png", {"n": "7"})


def test_the_most_telling_name_wins(tmp_path: Path) -> None:
    (record,) = good(read(tmp_path / "m.csv", "path,source-ref\nx,a.png\n"))
    assert (record.written_ref, record.attributes) == ("a.png", {"path": "x"})


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_other_delimiters(tmp_path: Path, delimiter: str) -> None:
    text = f"source-ref{delimiter}lot\na,1.png{delimiter}7\n"
    (record,) = good(read(tmp_path / "m.csv", text))
    assert (record.written_ref, record.attributes) == ("a,1.png", {"lot": "7"})


def test_labels_that_are_none_stay_attributes(tmp_path: Path) -> None:
    records = good(read(tmp_path / "m.csv", "source-ref,label\na,7\nb,\nc,Anomaly\n"))
    assert [record.is_anomalous for record in records] == [None, None, True]
    assert [record.attributes for record in records] == [{"label": "7"}, {"label": ""}, {}]


def test_one_bad_quote_costs_one_line(tmp_path: Path) -> None:
    text = 'source-ref,note\na.png,"open\nb.png,fine\nc.png,"two\nlines"\nd.png,1,2\ne.png\n,x\n'
    records = read(tmp_path / "m.csv", text)
    told = [
        record.code if isinstance(record, BadLine) else record.written_ref for record in records
    ]
    quotes, columns = "csv_quotes", "csv_columns"
    assert told == [quotes, "b.png", "c.png", columns, columns, "source_ref_invalid"]
    assert [record.line_number for record in records] == [2, 3, 4, 6, 7, 8]


def test_bad_csv_lines(tmp_path: Path) -> None:
    text = (
        b"source-ref\n\xff.png\na\x00.png\n" + b"x" * 200_000 + b"\n" + b"y" * 300_000 + b"\nok\n"
    )
    records = read(tmp_path / "m.csv", text)
    codes = [record.code for record in records if isinstance(record, BadLine)]
    assert codes == ["not_utf8", "nul_character", "csv_field_too_long", "line_too_long"]
    assert isinstance(records[-1], ManifestItem)


def test_empty_columns_at_the_end_are_no_fault(tmp_path: Path) -> None:
    (record,) = good(read(tmp_path / "m.csv", "source-ref,,\na.png,,,,\n"))
    assert record.attributes == {}


@pytest.mark.parametrize(
    "text",
    [
        "serial,lot\n1,2\n",
        "source-ref,x,x\n",
        "source-ref,x\ra.png,1\r",
        '"source-ref\n',
        b"source-ref,\xff\n",
        "source-ref," + ",".join(str(n) for n in range(2000)) + "\n",
        "source-ref," + "x" * 300_000 + "\n",
    ],
)
def test_headers_that_are_none(tmp_path: Path, text: str | bytes) -> None:
    with pytest.raises(ManifestHeaderInvalid):
        read(tmp_path / "m.csv", text)


@pytest.mark.parametrize(
    "text",
    [
        "a.png,normal\nb.png,anomaly\n",
        "normal;a.png\r\nanomaly;b.png\r\n\r\n",
        "a.png|good|7\nb.png|bad|8\n",
        "\ufeffimage_id,label\na.png,0\nb.png,1\n",
        "Bild;Klasse\na.png;OK\nb.png;NOK\n",
        "img\tquality\na.png\tpass\nb.png\tfail\n",
        'filename,class,note\na.png,good,"two\nlines"\nb.png,bad,"x, y"\n',
        "path,is_anomalous\na.png,false\nb.png,true\n   \n",
        "image,label\na.png,0.0\nb.png,1.0\n,\n",
        "sep=;\r\nimage;defect type\r\na.png;good\r\nb.png;bad\r\n;\r\n",
        's3_key,status,note\r\na.png,ok,"one\r\ntwo\r\nthree"\r\nb.png,not ok,\r\n',
    ],
)
def test_tables_as_people_make_them(tmp_path: Path, text: str) -> None:
    records = good(read(tmp_path / "m.csv", text))
    assert [(record.written_ref, record.is_anomalous) for record in records] == [
        ("a.png", False),
        ("b.png", True),
    ]


def test_minus_one_is_not_one(tmp_path: Path) -> None:
    """In some sets it is the anomaly, and 1 is normal."""
    (record,) = good(read(tmp_path / "m.csv", "image,label\na.png,-1\n"))
    assert (record.is_anomalous, record.found_label) == (None, "-1")


def test_a_table_with_masks_and_splits(tmp_path: Path) -> None:
    """As VisA's split files."""
    text = (
        "object,split,label,image,mask\n"
        "candle,train,normal,1.JPG,\n"
        "candle,test,anomaly,2.JPG,2.png\n"
    )
    normal, anomalous = good(read(tmp_path / "m.csv", text))
    assert (normal.mask_ref, split_of(normal.attributes)) == (None, "train")
    assert anomalous.mask_ref == str(tmp_path / "2.png")
    assert anomalous.mask_colors == {"#000000": "BACKGROUND", "#FFFFFF": "defect"}
    assert split_of(anomalous.attributes) == "test"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (  # MVTec AD
            [
                "b/train/good/0.png",
                "b/test/good/0.png",
                "b/test/dent/0.png",
                "b/ground_truth/dent/0_mask.png",
            ],
            {
                "b/test/dent/0.png": (True, "dent", "test", "b/ground_truth/dent/0_mask.png"),
                "b/test/good/0.png": (False, None, "test", None),
                "b/train/good/0.png": (False, None, "train", None),
            },
        ),
        (  # MVTec LOCO: a folder of masks for each image
            ["train/good/0.png", "test/logical/0.png", "ground_truth/logical/0/000.png"],
            {
                "test/logical/0.png": (True, "logical", "test", "ground_truth/logical/0/000.png"),
                "train/good/0.png": (False, None, "train", None),
            },
        ),
        (  # VisA
            ["Data/Images/Normal/0.JPG", "Data/Images/Anomaly/0.JPG", "Data/Masks/Anomaly/0.png"],
            {
                "Data/Images/Anomaly/0.JPG": (True, None, None, "Data/Masks/Anomaly/0.png"),
                "Data/Images/Normal/0.JPG": (False, None, None, None),
            },
        ),
        (  # BeanTech
            ["train/ok/0.bmp", "test/ko/1.bmp", "test/ok/2.bmp", "ground_truth/ko/1.bmp"],
            {
                "test/ko/1.bmp": (True, None, "test", "ground_truth/ko/1.bmp"),
                "test/ok/2.bmp": (False, None, "test", None),
                "train/ok/0.bmp": (False, None, "train", None),
            },
        ),
        (["good/a.png", "bad/b.png"], {"bad/b.png": (True,), "good/a.png": (False,)}),
        (["OK/a.png", "Not OK/b.png"], {"Not OK/b.png": (True,), "OK/a.png": (False,)}),
        (["pass/a.png", "fail/b.png"], {"fail/b.png": (True,), "pass/a.png": (False,)}),
        (
            ["good_parts/a.png", "NG images/b.png"],
            {"NG images/b.png": (True,), "good_parts/a.png": (False,)},
        ),
        (["i.O/a.png", "n.i.O/b.png"], {"n.i.O/b.png": (True,), "i.O/a.png": (False,)}),
        (["bad/scratch/b.png"], {"bad/scratch/b.png": (True, "scratch")}),
        (["bad/scratch/lot-7/b.png"], {"bad/scratch/lot-7/b.png": (True, "scratch")}),
        (["lot-1/a.png"], {"lot-1/a.png": (None,)}),
        (["labels/a.png"], {"labels/a.png": (None,)}),
    ],
)
def test_layouts_of_folders(
    tmp_path: Path, png: bytes, files: list[str], expected: dict[str, tuple[object, ...]]
) -> None:
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(png)
    reader = SourceReader(buckets={"parts": tmp_path})
    for source, base in ((str(tmp_path), f"{tmp_path}/"), ("s3://parts/", "s3://parts/")):
        found = {
            item.written_ref: (
                item.is_anomalous,
                item.attributes.get("anomaly-type"),
                item.attributes.get("split"),
                item.mask_ref and item.mask_ref.removeprefix(base),
            )
            for item in good(list(read_manifest(source, reader)))
        }
        assert {name: place[: len(expected[name])] for name, place in found.items()} == expected


def test_masks_say_which_images_are_anomalous(tmp_path: Path, jpeg: bytes) -> None:
    """Sets whose only labels are masks: one beside each image, empty for a normal one."""
    files = {
        "train/1.png": jpeg,  # KolektorSDD2
        "train/1_GT.png": drawn(0),
        "train/2.png": jpeg,
        "train/2_GT.png": drawn(255),
        "test/1.png": jpeg,
        "test/1_GT.png": drawn(255),
        "Class1/Train/7.png": jpeg,  # DAGM
        "Class1/Train/Label/7_label.png": drawn(255),
        "MT_Free/Imgs/3.jpg": jpeg,  # Magnetic Tile
        "MT_Free/Imgs/3.png": drawn(0),
        "MT_Crack/Imgs/4.jpg": jpeg,
        "MT_Crack/Imgs/4.png": drawn(255),
        "NG/dent/S1/5.jpg": jpeg,  # Real-IAD
        "NG/dent/S1/5.png": drawn(255),
    }
    for name, data in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    reader = SourceReader(buckets={"parts": tmp_path})
    for source in (str(tmp_path), "s3://parts/"):
        skipped = Skipped()
        found = {
            item.written_ref: (item.is_anomalous, item.mask_colors.get("#FFFFFF"))
            for item in good(list(read_manifest(source, reader, skipped=skipped)))
        }
        assert found == {
            "Class1/Train/7.png": (True, "Class1"),
            "MT_Crack/Imgs/4.jpg": (True, "defect"),
            "MT_Free/Imgs/3.jpg": (False, None),
            "NG/dent/S1/5.jpg": (True, "dent"),
            "test/1.png": (True, "defect"),
            "train/1.png": (False, None),
            "train/2.png": (True, "defect"),
        }
        assert skipped.reasons == {"masks": 7}


def test_a_png_beside_a_jpeg_may_be_a_photograph(tmp_path: Path, png: bytes, jpeg: bytes) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg)
    (tmp_path / "a.png").write_bytes(png)
    assert len(good(list(read_manifest(str(tmp_path), SourceReader())))) == 2


def drawn(shade: int) -> bytes:
    """A mask with a patch of this shade."""
    mask = Image.new("L", (64, 64))
    mask.paste(shade, (8, 8, 24, 24))
    out = io.BytesIO()
    mask.save(out, "PNG")
    return out.getvalue()


def test_names_for_labels_can_be_given(tmp_path: Path, png: bytes) -> None:
    for name in ("gut/a.png", "Kratzer/b.png", "good/c.png"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(png)
    profile = replace(INSPECTION, names=LabelNames.of(("gut",), ("kratzer", "good")))
    records = good(list(read_manifest(str(tmp_path), SourceReader(), profile=profile)))
    labels = {record.written_ref: record.is_anomalous for record in records}
    assert labels == {"Kratzer/b.png": True, "good/c.png": True, "gut/a.png": False}


@pytest.mark.parametrize("in_bucket", [False, True])
def test_files_that_are_not_parts_are_counted(tmp_path: Path, png: bytes, in_bucket: bool) -> None:
    names = ["lot/part.png", "lot/part.png.part", "lot/part.png.tmp", "lot/@eaDir/part.png"]
    names += ["lot/__MACOSX/._part.png", "lot/.part.png.swp", "lot/~$part.png", "lot/part.png~"]
    names += ["lot/part.png.!qB", "lot/part.tmp.png", "lot/@Recycle/p.png", "lot/Thumbs.db"]
    names += ["lot/ground_truth/dent/0_mask.png", "lot/notes.txt", "lot/_SUCCESS"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"text" if name.endswith("txt") else png)
    reader, skipped = SourceReader(buckets={"parts": tmp_path}), Skipped()
    source = "s3://parts/lot/" if in_bucket else str(tmp_path / "lot")
    (record,) = good(list(read_manifest(source, reader, skipped=skipped)))
    assert record.written_ref == "part.png"
    assert skipped.reasons.total() == len(names) - 1
    assert str(skipped).startswith("Skipped files: 14 (")
    assert {"masks", "other files", "system files"} <= set(skipped.reasons)


def test_csv_without_rows(tmp_path: Path) -> None:
    assert read(tmp_path / "m.csv", "") == []
    assert read(tmp_path / "m.csv", "source-ref\n") == []


# -- plain lists ----------------------------------------------------------------------------------


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


def test_names_that_are_no_text(tmp_path: Path) -> None:
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


def test_a_folder_inside_that_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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
        ("m.json", b"[]", "list"),
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


def test_a_kind_can_be_said(tmp_path: Path, reader: SourceReader, bucket: Path) -> None:
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


def test_what_is_no_manifest_at_all(reader: SourceReader, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SourceNotAFile):
        manifest_kind(str(tmp_path / "pipe"), reader)
    with pytest.raises(SourceNotFound):
        manifest_kind(str(tmp_path / "none"), reader)
