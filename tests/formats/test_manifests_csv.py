"""CSV and other tables."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from lfv.formats.errors import (
    ManifestHeaderInvalid,
)
from lfv.formats.folder_layout import split_of
from lfv.formats.manifest.records import BadLine, ManifestItem
from tests.support.manifests import good, read


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


def test_the_most_specific_name_wins(tmp_path: Path) -> None:
    (record,) = good(read(tmp_path / "m.csv", "path,source-ref\nx,a.png\n"))
    assert (record.written_ref, record.attributes) == ("a.png", {"path": "x"})


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_other_delimiters(tmp_path: Path, delimiter: str) -> None:
    text = f"source-ref{delimiter}lot\na,1.png{delimiter}7\n"
    (record,) = good(read(tmp_path / "m.csv", text))
    assert (record.written_ref, record.attributes) == ("a,1.png", {"lot": "7"})


def test_columns_without_labels_are_attributes(tmp_path: Path) -> None:
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


def test_empty_columns_at_the_end_are_ignored(tmp_path: Path) -> None:
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
def test_invalid_headers(tmp_path: Path, text: str | bytes) -> None:
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
    """In some data sets, -1 is the anomaly, and 1 is normal."""
    (record,) = good(read(tmp_path / "m.csv", "image,label\na.png,-1\n"))
    assert (record.is_anomalous, record.found_label) == (None, "-1")


def test_a_table_with_masks_and_splits(tmp_path: Path) -> None:
    """In the format of VisA's split files."""
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


def test_csv_without_rows(tmp_path: Path) -> None:
    assert read(tmp_path / "m.csv", "") == []
    assert read(tmp_path / "m.csv", "source-ref\n") == []


@pytest.mark.parametrize(
    ("column", "normal", "anomalous"),
    [
        ("label", "0", "1"),
        ("label", "ok", "NG"),
        ("label", "ＯＫ", "ＮＧ"),
        ("is_anomaly", "False", "True"),
        ("Defect", "N", "Y"),
        ("Fehler", "nein", "ja"),
        ("ok", "1", "0"),
        ("is_good", "True", "False"),
        ("Passed", "yes", "no"),
        ("Result", "PASS", "FAIL"),
        ("Bewertung", "gut", "schlecht"),
        ("Ergebnis", "i.O.", "n.i.O."),
        ("étiquette", "conforme", "non conforme"),
        ("判定", "良品", "不良品"),
        ("标签", "正常", "异常"),
        ("defect_type", "none", "scratch"),
    ],
)
def test_what_label_columns_mean(tmp_path: Path, column: str, normal: str, anomalous: str) -> None:
    text = f"image,{column}\na.png,{normal}\nb.png,{anomalous}\n"
    found = good(read(tmp_path / "m.csv", text))
    assert [item.is_anomalous for item in found] == [False, True]
    types = [item.attributes.get("anomaly-type") for item in found]
    assert types == [None, "scratch" if column == "defect_type" else None]


@pytest.mark.parametrize("column", ["quality", "Result", "status", "判定"])
def test_ambiguous_numbers_are_not_labels(tmp_path: Path, column: str) -> None:
    found = good(read(tmp_path / "m.csv", f"image,{column}\na.png,1\nb.png,0\n"))
    assert [(item.is_anomalous, item.found_label) for item in found] == [(None, "1"), (None, "0")]


@pytest.mark.parametrize("text", ["0,a.png,good\n1,b.png,bad\n", "0,a.png,0\n1,b.png,1\n"])
def test_row_numbers_are_not_labels(tmp_path: Path, text: str) -> None:
    found = good(read(tmp_path / "m.csv", text))
    assert [item.is_anomalous for item in found] == [False, True]
    assert [item.attributes for item in found] == [{"column-1": "0"}, {"column-1": "1"}]


@pytest.mark.parametrize(
    "column", ["ファイル名", "画像", "图片", "fichier", "archivo", "Bilddatei"]
)
def test_names_of_the_image_in_other_languages(tmp_path: Path, column: str) -> None:
    (item,) = good(read(tmp_path / "m.csv", f"{column};lot\na.png;7\n"))
    assert (item.written_ref, item.attributes) == ("a.png", {"lot": "7"})


def test_the_separator_is_the_one_that_leaves_an_image(tmp_path: Path) -> None:
    (item,) = good(read(tmp_path / "m.csv", "image;label;note, or more, or less,\na.png;ok;x\n"))
    assert item.is_anomalous is False


@pytest.mark.parametrize(
    ("written", "path"), [("lot\\a.png", "lot/a.png"), (".\\lot\\a.png", "./lot/a.png")]
)
@pytest.mark.parametrize("name", ["m.csv", "m.txt", "m.manifest"])
def test_paths_written_on_windows(tmp_path: Path, name: str, written: str, path: str) -> None:
    lines = {
        "m.csv": f"image,label\n{written},good\n",
        "m.txt": f"{written}\n",
        "m.manifest": json.dumps({"source-ref": written}),
    }
    (item,) = good(read(tmp_path / name, lines[name]))
    assert item.source_ref == f"{tmp_path}/{path}"


@pytest.mark.parametrize("written", ["C:\\lot\\a.png", "d:/lot/a.png", "\\\\server\\lot\\a.png"])
def test_paths_of_another_computer_are_refused(tmp_path: Path, written: str) -> None:
    (bad,) = read(tmp_path / "m.csv", f"image\n{written}\n")
    assert isinstance(bad, BadLine)
    assert bad.code == "source_ref_invalid"
    assert "relative to the manifest" in bad.message


def test_a_table_whose_labels_are_masks(tmp_path: Path) -> None:
    painted = Image.new("L", (64, 64))
    painted.paste(255, (8, 8, 24, 24))
    painted.save(tmp_path / "painted.png")
    Image.new("L", (64, 64)).save(tmp_path / "empty.png")
    text = "image,mask\na.png,painted.png\nb.png,empty.png\nc.png,lost.png\nd.png,\n"
    found = good(read(tmp_path / "m.csv", text))
    assert [item.is_anomalous for item in found] == [True, False, None, None]
    assert "lost.png" in found[2].attributes["label-problem"]


def test_a_list_with_labels(tmp_path: Path) -> None:
    text = "a.png 0\nlot 7/b.png\tNG\nc.png, good\nd.png scratch\ne.png\n"
    found = good(read(tmp_path / "m.txt", text))
    assert [(item.written_ref, item.is_anomalous, item.found_label) for item in found] == [
        ("a.png", False, None),
        ("lot 7/b.png", True, None),
        ("c.png", False, None),
        ("d.png", None, "scratch"),
        ("e.png", None, None),
    ]


def test_flat_rows_of_json(tmp_path: Path) -> None:
    """As other tools write them, such as the metadata.jsonl of Hugging Face."""
    rows = [
        {"file_name": "a.png", "label": 0, "lot": 7},
        {"image_path": "b.png", "label": "NG", "mask_path": "m.png"},
        {"image": "c.png", "is_anomaly": True},
    ]
    found = good(read(tmp_path / "m.jsonl", "".join(f"{json.dumps(row)}\n" for row in rows)))
    assert [item.is_anomalous for item in found] == [False, True, True]
    assert found[0].attributes == {"lot": 7}
    assert found[1].mask_ref == str(tmp_path / "m.png")
