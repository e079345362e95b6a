"""Rejects on the page of a run."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

from PIL import Image

from lfv.report import ReportAnomaly, ReportImage
from lfv.run.rejects_markdown import MOST_SHOWN, rejects_markdown
from tests.support.pictures import make_pictures


def reject(line: int, picture: Path | None = None) -> ReportImage:
    return ReportImage(
        line_number=line,
        source_ref=f"/data/part_{line}.png",
        verdict="reject",
        reasons=["anomalous with confidence 0.97"],
        confidence=0.97,
        anomalies=[ReportAnomaly("scratch", 0.0125, "#FF0000")],
        attributes={"serial": "SN_1*", "nested": {"no": 1}},
        read=None if picture is None else picture.read_bytes,
    )


def test_a_reject_has_its_picture_serial_number_and_anomalies(tmp_path: Path) -> None:
    (picture,) = make_pictures(tmp_path, 1)
    text = rejects_markdown([reject(7, picture)], total=1)
    assert text is not None
    assert "# 1 rejected" in text
    assert r"serial: SN\_1\*" in text
    assert "scratch (1.25%)" in text
    assert "nested" not in text
    found = re.search(r"!\[line 7\]\(data:image/jpeg;base64,([^)]+)\)", text)
    assert found is not None
    with Image.open(io.BytesIO(base64.b64decode(found[1]))) as shown:
        assert shown.format == "JPEG"


def test_only_the_first_are_shown_and_without_rejects_there_is_nothing() -> None:
    text = rejects_markdown([reject(line) for line in range(1, 40)], total=39)
    assert text is not None
    assert text.count("\n## ") == MOST_SHOWN
    assert "# 39 rejected" in text
    assert "data:" not in text  # the images are gone
    assert rejects_markdown([], total=0) is None
