"""The meaning of a table's columns, or of the members of a flat JSON row."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from lfv.formats.labels import LabelNames, plain, truth_of

# Names are compared in lower case without separators: "Source Ref" and "source_ref" are equal.
_SOURCE_WORDS = """
    sourceref imageref imagepath imagefile imagefilename imagename imageuri imageurl imagekey
    image imgpath imgfile imgname img source filepath filename file path s3uri s3url s3key uri
    url address location picture photo bild bildpfad bilddatei bildname datei dateiname
    dateipfad fichier archivo imagen immagine 画像 画像ファイル 画像名 ファイル ファイル名
    ファイルパス 图片 图像 文件名 이미지 파일명 imageid imgid
"""
_LABEL_WORDS = """
    anomalylabel label classname class expected anomalyclass isanomalous isanomaly anomaly
    isdefect isdefective isbad target truth groundtruth category quality judgement verdict
    result status klasse bewertung ergebnis étiquette etiqueta etichetta 判定 ラベル 标签 라벨
    labels isgood isok isnormal passed good ok pass defect defective fehler defecttype
    anomalytype fehlerart
"""
SOURCE_COLUMNS = tuple(_SOURCE_WORDS.split())
LABEL_COLUMNS = tuple(_LABEL_WORDS.split())
MASK_COLUMNS = ("anomalymaskref", "maskref", "maskpath", "maskfile", "mask")
#: Label columns in which only words are labels, because numbers could mean either.
VAGUE_COLUMNS = frozenset(
    {"category", "quality", "judgement", "verdict", "result", "status"}
    | {"bewertung", "ergebnis", "判定"}
)
#: Label columns in which 1, true or yes means normal.
GOOD_COLUMNS = frozenset({"isgood", "isok", "isnormal", "passed", "good", "ok", "pass"})
#: Label columns that name the type of a defect.
TYPE_COLUMNS = frozenset({"defecttype", "anomalytype", "fehlerart"})
_NO_TYPE = frozenset({"none", "keiner", "keine", "kein", "nan", "null", "na"})

IMAGE_NAME = r".*\.(?:png|jpe?g|bmp|tiff?|webp)"
IMAGE_CELL = re.compile(rf"(s3|file)://\S|{IMAGE_NAME}\s*\Z", re.IGNORECASE)

Meaning = Literal["anomaly", "words", "good", "type"]


@dataclass(frozen=True)
class Label:
    """The content of a label cell: its meaning, its anomaly type, and its text if unknown."""

    is_anomalous: bool | None = None
    anomaly_type: str | None = None
    unknown: str | None = None


@dataclass(frozen=True)
class Columns:
    """The positions of image, label and mask among the columns; None for a missing column."""

    names: Sequence[str]
    source: int | None
    label: int | None
    mask: int | None
    meaning: Meaning

    @classmethod
    def named(cls, names: Sequence[str]) -> Columns:
        """Find the columns by their names."""
        found = [plain(name) for name in names]
        label = _first_of(LABEL_COLUMNS, found)
        return cls(
            names,
            _first_of(SOURCE_COLUMNS, found),
            label,
            _first_of(MASK_COLUMNS, found),
            "anomaly" if label is None else _meaning(found[label]),
        )

    def read_label(self, cell: str, words: LabelNames) -> Label:
        """Read a cell of the label column."""
        known = words.of_folder(cell)
        if known is None and self.meaning != "words":
            truth = truth_of(cell)
            known = None if truth is None else truth != (self.meaning == "good")
        text = cell.strip()
        if known is None and self.meaning == "type" and text:
            if plain(text) in _NO_TYPE:
                return Label(is_anomalous=False)
            return Label(is_anomalous=True, anomaly_type=text)
        return Label(known, None, None if known is not None else text or None)


def _meaning(column: str) -> Meaning:
    if column in VAGUE_COLUMNS:
        return "words"
    if column in GOOD_COLUMNS:
        return "good"
    return "type" if column in TYPE_COLUMNS else "anomaly"


def _first_of(wanted: Sequence[str], names: Sequence[str]) -> int | None:
    return next((names.index(name) for name in wanted if name in names), None)
