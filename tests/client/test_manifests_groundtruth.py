"""Ground Truth rows: labels by class name, masks by colour map, and everything else kept."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from lfv.client.manifests import manifest_digest, read_manifest
from lfv.client.sources import SourceReader
from lfv.formats.errors import ManifestLineInvalid, SourceNotFound
from lfv.formats.manifest.groundtruth import (
    INSPECTION,
    LABEL_PROBLEM,
    TRAINING,
    Profile,
)
from lfv.formats.manifest.records import BadLine, ManifestItem


def classification(name: str, class_name: Any, **more: Any) -> dict[str, Any]:
    metadata = {"class-name": class_name, "type": "groundtruth/image-classification"} | more
    return {name: 0, f"{name}-metadata": metadata}


def segmentation(
    name: str = "anomaly-mask-ref", ref: Any = "masks/1.png", colors: Any = None
) -> dict[str, Any]:
    if colors is None:
        colors = {
            "0": {"class-name": "BACKGROUND", "hex-color": "#ffffff", "confidence": 0.0},
            "1": {"class-name": "scratch", "hex-color": "#2ca02c", "confidence": 0.0},
        }
    metadata = {"internal-color-map": colors, "type": "groundtruth/semantic-segmentation"}
    return {name: ref, f"{name}-metadata": metadata}


def read(
    tmp_path: Path, *rows: Any, strict: bool = False, profile: Profile = INSPECTION
) -> list[ManifestItem | BadLine]:
    lines = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]
    (tmp_path / "m.manifest").write_bytes(b"\n".join(lines))
    manifest = str(tmp_path / "m.manifest")
    return list(read_manifest(manifest, SourceReader(), strict=strict, profile=profile))


def item(tmp_path: Path, row: dict[str, Any]) -> ManifestItem:
    (record,) = read(tmp_path, {"source-ref": "a.png"} | row)
    assert isinstance(record, ManifestItem), record
    return record


def bad(tmp_path: Path, row: Any) -> BadLine:
    (record,) = read(tmp_path, row, profile=TRAINING)
    assert isinstance(record, BadLine), record
    assert record.message.endswith((".", "…"))
    return record


def test_the_samples_of_amazon(sample_data: Path) -> None:
    reader = SourceReader()
    train = list(read_manifest(str(sample_data / "cookies" / "train.manifest"), reader))
    items = [record for record in train if isinstance(record, ManifestItem)]
    assert len(items) == len(train) == 63
    assert sum(record.is_anomalous is True for record in items) == 32
    assert {record.mask_ref is not None for record in items if record.is_anomalous} == {True}
    assert items[0].mask_colors == {"#23A436": "cracked"}
    assert reader.read_bytes(items[0].source_ref)
    test = list(read_manifest(str(sample_data / "cookies" / "test.manifest"), reader))
    assert [record.line_number for record in test] == list(range(1, 23))


@pytest.mark.parametrize(
    ("class_name", "label"),
    [
        ("anomaly", True),
        ("normal", False),
        ("Normal", False),
        (" ANOMALY ", True),
        ("defect", None),
        ("", None),
        (None, None),
        (1, None),
    ],
)
def test_labels_are_read_by_class_name(tmp_path: Path, class_name: Any, label: bool | None) -> None:
    for attribute in ("anomaly-label", "Ünusual name", "x"):
        record = item(tmp_path, classification(attribute, class_name))
        assert record.is_anomalous is label
        assert (attribute in record.attributes) == (label is None)


def test_the_number_of_a_label_is_ignored(tmp_path: Path) -> None:
    row = classification("anomaly-label", "normal") | {"anomaly-label": 1}
    assert item(tmp_path, row).is_anomalous is False
    assert item(tmp_path, {"anomaly-label": 1}).is_anomalous is None
    assert item(tmp_path, {"anomaly-label": 1}).attributes == {"anomaly-label": 1}


def test_another_classification_is_an_attribute(tmp_path: Path) -> None:
    row = classification("product", "cookie") | classification("anomaly-label", "anomaly")
    record = item(tmp_path, row)
    assert record.is_anomalous is True
    assert set(record.attributes) == {"product", "product-metadata"}


def test_a_models_own_answer_is_not_a_label(tmp_path: Path) -> None:
    """Lookout for Vision's evaluation manifests carry both."""
    row = classification("anomaly-label", "normal") | classification(
        "anomaly-label-detected", "anomaly", confidence=0.9
    )
    record = item(tmp_path, row)
    assert record.is_anomalous is False
    assert "anomaly-label-detected-metadata" in record.attributes


def test_labels_that_agree_and_labels_that_do_not(tmp_path: Path) -> None:
    agreeing = classification("a", "normal") | classification("b", "normal")
    assert item(tmp_path, agreeing).is_anomalous is False
    row = {"source-ref": "a.png"} | classification("a", "normal") | classification("b", "anomaly")
    assert bad(tmp_path, row).code == "label_ambiguous"
    inspected = item(tmp_path, row)  # which needs no label
    assert inspected.is_anomalous is None
    assert "contradict each other: a, b" in inspected.attributes[LABEL_PROBLEM]


def test_masks(tmp_path: Path) -> None:
    record = item(tmp_path, segmentation() | classification("anomaly-label", "anomaly"))
    assert record.mask_ref == str(tmp_path / "masks/1.png")
    assert record.mask_colors == {"#FFFFFF": "BACKGROUND", "#2CA02C": "scratch"}
    assert record.attributes == {}
    absolute = item(tmp_path, segmentation(name="other-ref", ref="s3://parts/m.png"))
    assert absolute.mask_ref == "s3://parts/m.png"


@pytest.mark.parametrize("nothing", [None, ""])
def test_a_missing_mask(tmp_path: Path, nothing: str | None) -> None:
    record = item(tmp_path, segmentation(ref=nothing))
    assert (record.mask_ref, record.mask_colors) == (None, {})


@pytest.mark.parametrize(
    ("ref", "code"), [(7, "source_ref_invalid"), ("ftp://x/m.png", "source_scheme_unsupported")]
)
def test_masks_that_cannot_be_found(tmp_path: Path, ref: Any, code: str) -> None:
    row = {"source-ref": "a.png"} | segmentation(ref=ref)
    assert bad(tmp_path, row).code == code
    inspected = item(tmp_path, row)
    assert inspected.mask_ref is None
    assert inspected.attributes[LABEL_PROBLEM].startswith("anomaly-mask-ref ")


@pytest.mark.parametrize(
    "colors",
    [
        "red",
        {"1": "scratch"},
        {"1": {"class-name": "scratch"}},
        {"1": {"hex-color": "#000000"}},
        {"1": {"class-name": "scratch", "hex-color": "red"}},
        {"1": {"class-name": "scratch", "hex-color": "#12345"}},
        {"1": {"class-name": " ", "hex-color": "#000000"}},
        {
            "1": {"class-name": "scratch", "hex-color": "#abcdef"},
            "2": {"class-name": "dent", "hex-color": "#ABCDEF"},
        },
    ],
)
def test_invalid_colour_maps(tmp_path: Path, colors: Any) -> None:
    row = {"source-ref": "a.png"} | segmentation(colors=colors)
    assert bad(tmp_path, row).code == "mask_colors_invalid"


def test_several_masks(tmp_path: Path) -> None:
    row = {"source-ref": "a.png"} | segmentation("a-ref") | segmentation("b-ref", "masks/2.png")
    assert bad(tmp_path, row).code == "mask_ambiguous"
    row["b-ref"] = None
    assert item(tmp_path, row).mask_ref == str(tmp_path / "masks/1.png")


def test_attributes_are_kept_as_they_are(tmp_path: Path) -> None:
    attributes = {
        "serial": "SN-00012",
        "lot": 20260101,
        "huge": 12345678901234567890123,
        "nested": {"camera": [1, 2.5, None, True, {"ü": "日本"}]},
        "source-ref-metadata": {"creation-date": "2020-05-22T21:33:37.201882"},
    }
    record = item(tmp_path, attributes)
    assert record.attributes == attributes | {"huge": "12345678901234567890123"}


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ({}, "source_ref_missing"),
        ({"source": "inline text"}, "source_ref_missing"),
        ({"source-ref": None}, "source_ref_invalid"),
        ({"source-ref": 7}, "source_ref_invalid"),
        ({"source-ref": True}, "source_ref_invalid"),
        ({"source-ref": ["a.png"]}, "source_ref_invalid"),
        ({"source-ref": {}}, "source_ref_invalid"),
        ({"source-ref": ""}, "source_ref_invalid"),
        ({"source-ref": "a\nb.png"}, "source_ref_invalid"),
        ({"source-ref": "x" * 5000}, "source_ref_invalid"),
        ({"source-ref": "s3://parts"}, "source_ref_invalid"),
        ({"source-ref": "https://example.com/a.png"}, "source_scheme_unsupported"),
        (b"not json", "json_invalid"),
        (b'{"source-ref": "a.png", "source-ref": "b.png"}', "json_duplicate_name"),
        (b'{"source-ref": "a.png", "x": NaN}', "json_not_a_number"),
        (b'["a.png"]', "json_not_an_object"),
        (b'{"source-ref": "\xff.png"}', "not_utf8"),
        (b'{"source-ref": "a\\u0000.png"}', "nul_character"),
        (b'{"source-ref": "a.png", "x": ' + b"[" * 99 + b"]" * 99 + b"}", "json_too_deep"),
        (b'{"source-ref": "a.png", "x": "' + b"y" * 300_000 + b'"}', "line_too_long"),
        (b"x" * 3_000_000, "line_too_long"),
    ],
)
def test_bad_lines_between_good_ones(tmp_path: Path, row: Any, code: str) -> None:
    before, wrong, after = read(tmp_path, {"source-ref": "1.png"}, row, {"source-ref": "3.png"})
    assert isinstance(before, ManifestItem)
    assert isinstance(after, ManifestItem)
    assert (before.line_number, wrong.line_number, after.line_number) == (1, 2, 3)
    assert isinstance(wrong, BadLine)
    assert wrong.code == code
    assert len(wrong.text) <= 200
    assert wrong.text.isprintable()
    with pytest.raises(ManifestLineInvalid, match=r"^Line 2: ") as caught:
        read(tmp_path, {"source-ref": "1.png"}, row, strict=True)
    assert caught.value.bad_line == wrong


def test_line_ends_blank_lines_and_byte_order_mark(tmp_path: Path) -> None:
    line = b'{"source-ref": "a.png"}'
    (tmp_path / "m.jsonl").write_bytes(
        b"\xef\xbb\xbf" + line + b"\r\n\r\n  \t\n" + line + b"\n" + line + b"\r"
    )
    records = list(read_manifest(str(tmp_path / "m.jsonl"), SourceReader()))
    assert [record.line_number for record in records] == [1, 4, 5]
    assert all(isinstance(record, ManifestItem) for record in records)


def test_repeated_lines_are_separate_items(tmp_path: Path) -> None:
    records = read(tmp_path, *[{"source-ref": "a.png", "serial": "1"}] * 3)
    assert [record.line_number for record in records] == [1, 2, 3]


def test_an_empty_manifest(tmp_path: Path) -> None:
    assert read(tmp_path, b"") == []
    assert read(tmp_path, b"\n\n") == []


def test_reading_is_lazy_and_closes_its_file(tmp_path: Path) -> None:
    (tmp_path / "m.manifest").write_bytes(b'{"source-ref": "a.png"}\n' * 10)
    records = read_manifest(str(tmp_path / "m.manifest"), SourceReader())
    next(records)
    records.close()  # type: ignore[attr-defined]
    gone = read_manifest(str(tmp_path / "none.manifest"), SourceReader())
    with pytest.raises(SourceNotFound):
        next(gone)


def test_a_manifest_in_a_bucket_cannot_name_local_files(reader: SourceReader, bucket: Path) -> None:
    rows = ["/etc/passwd", "file:///etc/passwd", "../../etc/passwd", "ok.png", "s3://other/x.png"]
    text = "\n".join(json.dumps({"source-ref": row}) for row in rows)
    (bucket / "m.manifest").write_text(text)
    records = list(read_manifest("s3://parts/m.manifest", reader))
    codes = [
        record.code if isinstance(record, BadLine) else record.source_ref for record in records
    ]
    assert codes == ["source_outside"] * 3 + ["s3://parts/ok.png", "s3://other/x.png"]


def test_digest_is_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "m.manifest").write_bytes(b'{"source-ref": "a.png"}\r\n')
    digest = manifest_digest(str(tmp_path / "m.manifest"), SourceReader())
    assert digest == hashlib.sha256(b'{"source-ref": "a.png"}\r\n').hexdigest()
