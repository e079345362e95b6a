"""anomalib's PatchCore beside the engine, on the backbone, sizes and draws of normals only.

It runs in another interpreter (patchcore_worker.py), because anomalib and torch are not
dependencies.  The limit is set as the engine's, on scores of normal images that five folds leave
out.  A limit for masks has the highest IoU on the anomalous images drawn to train.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lfv.engine import TrainingImage
from lfv.engine.normals import alarm_calibration
from lfv.engine.pretrained.backbone import PretrainedBackbone
from lfv.engine.pretrained.source import weights_file

WORKER = Path(__file__).with_name("patchcore_worker.py")
INSTALL = "install it there: pip install anomalib==0.7.0"
FOLDS = 5
#: Patches that are drawn from the training images, and anomalib's default for the share of them
#: that its coreset keeps. A tenth of all patches takes hours for 30 images of 512 pixels.
PATCHES, RATIO = 10_000, 0.1


def check(python: Path) -> None:
    """Exit with a sentence unless the interpreter has anomalib."""
    try:
        failed = subprocess.run([python, WORKER], capture_output=True, text=True, check=False)
    except OSError as error:
        raise SystemExit(f"{python} cannot be run: {error.strerror}.") from None
    if failed.returncode:
        reason = (failed.stderr.strip().splitlines() or ["no message"])[-1]
        raise SystemExit(f"{python} cannot run anomalib's PatchCore ({reason}); {INSTALL}.")


def patchcore(
    python: Path,
    normal: Sequence[TrainingImage],
    masked: Sequence[TrainingImage],
    new: Sequence[TrainingImage],
    seed: int,
) -> tuple[NDArray[np.float64], float | None]:
    """Return the probability of an anomaly for each new image, calibrated as ours, and the IoU.

    Args:
        python: An interpreter that has anomalib.
        normal: Images to train.
        masked: Images with masks, to choose the limit of maps; may be empty.
        new: Images to judge.
        seed: Seed of the coreset and the folds.
    """
    with Image.open(normal[0].path) as image:
        backbone = PretrainedBackbone.for_images(*image.size, is_alone=True)
    fold = np.random.default_rng(seed).permutation(len(normal)) % FOLDS
    paths = [str(image.path) for image in normal]
    banks = [
        {
            "train": [path for path, f in zip(paths, fold, strict=True) if f != number],
            "score": [path for path, f in zip(paths, fold, strict=True) if f == number],
        }
        for number in range(FOLDS)
    ]
    banks.append({"train": paths, "score": [str(image.path) for image in new]})
    mapped = [*masked, *new] if masked else []
    job = {
        "weights": str(weights_file()),
        "size": backbone.size,
        "seed": seed,
        "patches": PATCHES,
        "ratio": RATIO,
        "banks": banks,
        "maps": [str(image.path) for image in mapped],
    }
    result = _run(python, job)
    held_out = np.log(np.concatenate([result[f"scores{number}"] for number in range(FOLDS)]))
    probability = alarm_calibration(held_out)(np.log(result[f"scores{FOLDS}"]))
    return probability, _overlap(result["maps"], mapped, len(masked)) if masked else None


def _run(python: Path, job: dict[str, Any]) -> dict[str, NDArray[Any]]:
    with tempfile.TemporaryDirectory() as name:
        asked, answered = Path(name, "job.json"), Path(name, "result.npz")
        asked.write_text(json.dumps(job), encoding="utf-8")
        subprocess.run([python, WORKER, asked, answered], stderr=subprocess.DEVNULL, check=True)
        with np.load(answered) as stored:
            return dict(stored)


def _overlap(maps: NDArray[np.float16], images: Sequence[TrainingImage], known: int) -> float:
    """IoU over all pixels of the images after the first ``known``, which choose the limit."""
    height, width = maps.shape[1:]
    truth = np.zeros(maps.shape, bool)
    for number, image in enumerate(images):
        if image.mask_path is not None:
            with Image.open(image.mask_path) as mask:
                truth[number] = np.asarray(mask.convert("L").resize((width, height), 0)) > 127

    def iou(part: slice, limit: float) -> float:
        found, there = maps[part] > limit, truth[part]
        return float((found & there).sum() / max(1, (found | there).sum()))

    shares = np.geomspace(1e-4, 0.5, 100)  # of pixels above the limit; defects may be tiny
    limits = np.quantile(maps[:known].astype(np.float32), 1 - shares)
    best = max(limits, key=lambda limit: iou(slice(known), limit))
    return iou(slice(known, None), best)
