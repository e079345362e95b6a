"""The demonstration's image set: training and inspection parts with Ground Truth manifests.

    FOLDER/train/train.manifest       60 parts, half of them damaged, with masks of three types
    FOLDER/inspect/inspect.manifest   24 other parts with serial numbers; one file is broken

The set depends only on the seed. Manifest rows have the form that SageMaker Ground Truth wrote for
Lookout for Vision: an image classification label, and a segmentation mask for defects.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from PIL import Image

from lfv.cli.demo_parts import ANOMALY_COLORS, Picture, render_part

DEFAULT_SEED = 20251031
_CREATED = "2025-10-31T08:00:00.000000"
_JPEG_QUALITY = 93


@dataclass(frozen=True)
class DemoSet:
    """The files that were written."""

    folder: Path
    train_manifest: Path
    inspect_manifest: Path


@dataclass(frozen=True)
class _Plan:
    path: Path
    seed: tuple[int, int, int]
    defects: tuple[str, ...]


def make_demo_set(
    folder: Path,
    *,
    seed: int = DEFAULT_SEED,
    train: int = 60,
    inspect: int = 24,
    progress: Callable[[int, int], None] | None = None,
) -> DemoSet:
    """Draw the set into `folder`, creating it if needed and replacing files of the same names.

    `train` and `inspect` are numbers of images, including the broken one. `progress` is called with
    the images done and their total. Raises `OSError` if the folder cannot be written.
    """
    train_plan = _plans(folder / "train", seed, 0, _defects(train, train // 2))
    inspect_plan = _plans(folder / "inspect", seed, 1, _defects(inspect, inspect * 3 // 8))
    plans = [*train_plan, *inspect_plan]
    for plan in plans:
        plan.path.parent.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(max_workers=2) as pool:
        for done, _ in enumerate(pool.map(_draw, plans), start=1):
            if progress is not None:
                progress(done, len(plans))

    broken = inspect_plan[-1].path
    whole = broken.read_bytes()
    broken.write_bytes(whole[: len(whole) * 3 // 5])  # a copy that stopped half-way

    train_manifest = folder / "train" / "train.manifest"
    _write_manifest(train_manifest, [_row(plan) for plan in train_plan])
    inspect_manifest = folder / "inspect" / "inspect.manifest"
    rows = [
        {"serial": f"FL-{26000 + number}", "lot": f"L{number // 12 + 41}", "station": "turning-2"}
        | _row(plan)
        for number, plan in enumerate(inspect_plan, start=1)
    ]
    _write_manifest(inspect_manifest, rows)
    return DemoSet(
        folder=folder,
        train_manifest=train_manifest,
        inspect_manifest=inspect_manifest,
    )


def _defects(count: int, anomalous: int) -> list[tuple[str, ...]]:
    """Return the defects of each of `count` parts.

    `anomalous` parts, spread evenly, have one; every seventh of these has two. The last has none.
    """
    names = list(ANOMALY_COLORS)
    parts: list[tuple[str, ...]] = [()] * count
    for number in range(anomalous):
        place = number * (count - 1) // max(anomalous, 1)
        first, second = names[number % len(names)], names[(number + 1) % len(names)]
        parts[place] = (first, second) if number % 7 == 6 else (first,)
    return parts


def _plans(folder: Path, seed: int, part: int, defects: Sequence[tuple[str, ...]]) -> list[_Plan]:
    return [
        _Plan(folder / "images" / f"flange-{number:03d}.jpg", (seed, part, number), names)
        for number, names in enumerate(defects, start=1)
    ]


def _draw(plan: _Plan) -> None:
    picture = render_part(np.random.default_rng(plan.seed), plan.defects)
    picture.image.save(plan.path, quality=_JPEG_QUALITY, subsampling=0)
    if picture.is_anomalous:
        _save_mask(picture, _mask_path(plan.path))


def _mask_path(image: Path) -> Path:
    return image.parent.parent / "masks" / f"{image.stem}.png"


def _save_mask(picture: Picture, path: Path) -> None:
    """Save a mask as a palette PNG: white background, and each defect in its type's colour."""
    mask = Image.fromarray(picture.mask)
    mask.putpalette(
        bytes.fromhex("ffffff" + "".join(color[1:] for color in ANOMALY_COLORS.values()))
    )
    path.parent.mkdir(exist_ok=True)
    mask.save(path, optimize=True)


def _row(plan: _Plan) -> dict[str, Any]:
    row: dict[str, Any] = {
        "source-ref": f"images/{plan.path.name}",
        "anomaly-label": 1 if plan.defects else 0,
        "anomaly-label-metadata": {
            "class-name": "anomaly" if plan.defects else "normal",
            "confidence": 1,
            "human-annotated": "yes",
            "job-name": "labeling-job/anomaly-label",
            "type": "groundtruth/image-classification",
            "creation-date": _CREATED,
        },
    }
    if plan.defects:
        colors = {"0": {"class-name": "BACKGROUND", "hex-color": "#ffffff", "confidence": 0}}
        for number, (name, color) in enumerate(ANOMALY_COLORS.items(), start=1):
            colors[str(number)] = {"class-name": name, "hex-color": color, "confidence": 0}
        row["anomaly-mask-ref"] = f"masks/{plan.path.stem}.png"
        row["anomaly-mask-ref-metadata"] = {
            "internal-color-map": colors,
            "human-annotated": "yes",
            "job-name": "labeling-job/anomaly-mask-ref",
            "type": "groundtruth/semantic-segmentation",
            "creation-date": _CREATED,
        }
    return row


def _write_manifest(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
