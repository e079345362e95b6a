"""The demonstration's image set."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lfv.cli.demo_images import DemoSet, make_demo_set
from lfv.cli.demo_parts import ANOMALY_COLORS, HEIGHT, WIDTH, render_part


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> DemoSet:
    return make_demo_set(tmp_path_factory.mktemp("demo"), train=8, inspect=4)


def rows(manifest: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in manifest.read_text().splitlines()]


def test_every_row_names_an_image_of_the_right_size(demo: DemoSet) -> None:
    for manifest, count in ((demo.train_manifest, 8), (demo.inspect_manifest, 4)):
        references = [str(row["source-ref"]) for row in rows(manifest)]
        assert len(set(references)) == count
        for reference in references:
            with Image.open(manifest.parent / reference) as image:
                assert image.size == (WIDTH, HEIGHT)


def test_anomalous_rows_have_masks_that_show_their_defects(demo: DemoSet) -> None:
    seen: set[str] = set()
    for row in rows(demo.train_manifest):
        assert ("anomaly-mask-ref" in row) == (row["anomaly-label"] == 1)
        if row["anomaly-label"] == 0:
            continue
        with Image.open(demo.train_manifest.parent / str(row["anomaly-mask-ref"])) as mask:
            assert mask.mode == "P"
            pixels = np.asarray(mask.convert("RGB")).reshape(-1, 3)
        colors = {"#" + bytes(color).hex() for color in np.unique(pixels, axis=0)}
        assert colors <= {"#ffffff", *ANOMALY_COLORS.values()}
        assert len(colors) >= 2
        seen |= colors
    assert seen == {"#ffffff", *ANOMALY_COLORS.values()}


def test_both_sets_have_undamaged_and_damaged_parts(demo: DemoSet) -> None:
    for manifest in (demo.train_manifest, demo.inspect_manifest):
        assert {row["anomaly-label"] for row in rows(manifest)} == {0, 1}


def test_no_inspected_part_was_trained_on(demo: DemoSet) -> None:
    digests = [
        hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(demo.folder.rglob("*.jpg"))
    ]
    assert len(set(digests)) == len(digests) == 12


def test_one_inspected_image_is_broken(demo: DemoSet) -> None:
    *_, last = rows(demo.inspect_manifest)
    broken = demo.inspect_manifest.parent / str(last["source-ref"])
    with pytest.raises(OSError, match="truncated"), Image.open(broken) as image:
        image.load()


def test_the_set_depends_only_on_the_seed(demo: DemoSet, tmp_path: Path) -> None:
    again = make_demo_set(tmp_path / "again", train=8, inspect=4)
    other = make_demo_set(tmp_path / "other", train=8, inspect=4, seed=1)
    first = "train/images/flange-001.jpg"
    assert (again.folder / first).read_bytes() == (demo.folder / first).read_bytes()
    assert (other.folder / first).read_bytes() != (demo.folder / first).read_bytes()
    assert again.inspect_manifest.read_bytes() == demo.inspect_manifest.read_bytes()


def test_progress_counts_every_image(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    make_demo_set(
        tmp_path, train=2, inspect=2, progress=lambda done, total: told.append((done, total))
    )
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


@pytest.mark.parametrize("name", ANOMALY_COLORS)
def test_a_defect_is_visible_where_its_mask_is_and_nowhere_else(name: str) -> None:
    whole = render_part(np.random.default_rng(5))
    assert not whole.is_anomalous
    number = list(ANOMALY_COLORS).index(name) + 1
    for seed in range(4):
        damaged = render_part(np.random.default_rng(seed), [name])
        assert set(np.unique(damaged.mask)) == {0, number}
        assert 0.0005 < (damaged.mask > 0).mean() < 0.06
