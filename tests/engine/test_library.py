"""The engine as a library: the documented example runs as it stands."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from lfv.engine import TrainingImage

DOCS = Path(__file__).parents[2] / "docs" / "engine.md"


def test_the_documented_example_runs(
    make_plates: Callable[..., list[TrainingImage]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for image in make_plates(10, 10, masks=False):
        folder = tmp_path / "images" / ("anomaly" if image.is_anomalous else "normal")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / image.path.name).write_bytes(image.path.read_bytes())
    monkeypatch.chdir(tmp_path)
    example = re.search(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
    assert example is not None
    exec(compile(example[1], str(DOCS), "exec"), {})  # noqa: S102
    first, *_, verdict = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"F1 [01]\.\d\d", first)
    assert re.fullmatch(r"False 0\.[5-9]\d*", verdict)
    assert (tmp_path / "model" / "manifest.json").is_file()
