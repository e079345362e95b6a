"""A hundred damaged and hostile inputs, and good images between them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flows.inspect_images import inspect_images
from lfv_store import Store
from tests.support.endpoints import Endpoint
from tests.support.hostile import hostile_files, hostile_lines, odd_labels
from tests.support.pictures import make_pictures


def test_each_bad_input_is_recorded_and_each_good_image_judged(
    tmp_path: Path, endpoint: Endpoint, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "m"
    good = iter(make_pictures(folder, 200))
    bucket = tmp_path / "bucket"
    bucket.mkdir()
    monkeypatch.setenv("LFV_BUCKETS", f"standin={bucket}")
    monkeypatch.chdir(folder)  # a socket's path has to be short
    bad = [*hostile_lines()]
    bad += [(json.dumps({"source-ref": ref}).encode(), code) for ref, code in hostile_files(folder)]
    assert len(bad) >= 100
    lines: list[bytes] = []
    expected: dict[int, str | None] = {}
    for line, code in bad:
        expected[len(lines) + 1] = code
        expected[len(lines) + 2] = None
        lines += [line, json.dumps({"source-ref": next(good).name}).encode()]
    lines += odd_labels(next(good).name)
    manifest = folder / "all.manifest"
    manifest.write_bytes(b"\n".join(lines))

    summary = inspect_images(source=str(manifest), project="parts")

    assert (summary.status, summary.counts.total) == ("completed", len(lines))
    assert summary.counts.errors == len(bad)
    found = {row["line_number"]: row for row in store.results.rows(summary.run_id)}
    wrong = {
        number: (expected.get(number), row["error_code"], lines[number - 1][:60])
        for number, row in found.items()
        if row["error_code"] != expected.get(number)
    }
    assert wrong == {}
    for row in found.values():
        assert (row["verdict"] is None) == (row["error"] is not None)
        assert row["error"] is None or 10 < len(row["error"]) < 400
    assert endpoint.status == "TRAINED"
    assert summary.report is not None
    assert "<script>alert" not in summary.report.read_text()
