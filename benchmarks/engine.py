"""Measure the engine: on the sample data, or on any two folders of images.

    python benchmarks/engine.py                                  # sample data beside the project
    python benchmarks/engine.py --network                        # with torch: with and without
    python benchmarks/engine.py --folder normal/ anomaly/        # labels only, 30 + 30 to train
    python benchmarks/engine.py --sets SETS/ --table sets.md     # see engine_sets.py
    python benchmarks/engine.py --sets SETS/ --anomalib PYTHON   # and PatchCore of anomalib

The sample run writes ``engine-results.json`` beside this file.  Every figure comes from images
that the model behind it has not seen.  Latencies are CPU time of one thread, which other load on
the machine disturbs least; trainings show wall clock and CPU time.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from engine_patchcore import check
from engine_sets import measure_sets, table
from PIL import Image
from scipy import ndimage

from lfv.engine import Predictor, TrainingImage, TrainingOptions, artifact, metrics, train
from lfv.engine.metrics import auroc
from lfv.formats.evaluation import Evaluator

RESULTS = Path(__file__).with_name("engine-results.json")
DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
Images = list[TrainingImage]
Measure = Callable[[Path], dict[str, Any]]


def read_manifest(path: Path, *, masks: bool = True) -> Images:
    """The rows of a Ground Truth manifest whose references are relative to it."""
    images = []
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        label = next(
            k
            for k in row
            if str(row.get(f"{k}-metadata", {}).get("type", "")).endswith("classification")
        )
        mask = next((k for k in row if k.endswith("-ref") and k != "source-ref"), None)
        colors = {}
        if mask is not None:
            entries = row[f"{mask}-metadata"]["internal-color-map"].values()
            colors = {entry["hex-color"]: entry["class-name"] for entry in entries}
        images.append(
            TrainingImage(
                row["source-ref"],
                path.parent / row["source-ref"],
                row[f"{label}-metadata"]["class-name"] != "normal",
                path.parent / row[mask] if masks and mask is not None else None,
                colors if masks else {},
            )
        )
    return images


def judge(model: Path, images: Sequence[TrainingImage]) -> tuple[np.ndarray, list[float]]:
    """(probability of anomaly, CPU milliseconds) of every image, through the public interface."""
    predictor = Predictor.load(model)
    bodies = [image.path.read_bytes() for image in images]
    predictor.predict(bodies[0])
    probability, times = [], []
    for body in bodies:
        start = time.process_time()
        verdict = predictor.predict(body)
        times.append(1000 * (time.process_time() - start))
        probability.append(verdict.confidence if verdict.is_anomalous else 1 - verdict.confidence)
    return np.array(probability), times


#: More seeds, because folds and initial weights are random.
OTHER_SEEDS = (0, 20_200_720)


def trained(
    training: Images, test: Images, folder: Path, seed: int = 1, *, network: bool = False
) -> dict[str, Any]:
    """Train on one set, judge another."""
    start, cpu = time.perf_counter(), time.process_time()
    options = TrainingOptions(seed=seed, network=network)
    outcome = train(training, test, folder, options=options)
    seconds = time.perf_counter() - start
    details = outcome.evaluation["Details"]
    figures = outcome.evaluation["AggregatedEvaluationResults"]["Metrics"]
    result: dict[str, Any] = {
        "training_images": len(training),
        "test_images": len(test),
        "training_seconds": round(seconds, 1),
        "training_cpu_seconds": round(time.process_time() - cpu, 1),
        "f1": round(outcome.f1, 4),
        "brier": round(details["BrierScore"], 4),
        "ece": round(details["ExpectedCalibrationError"], 4),
        "auroc": round(figures.get("ROCAUC", float("nan")), 4),
        "artifact_bytes": artifact.size_bytes(folder),
        "iou": {
            label["Label"]: round(label["Metrics"]["IoU"], 4)
            for label in outcome.evaluation["LabelEvaluationResults"]
        },
    }
    if network:
        result["network"] = details["Network"]
    return result


def blank(images: Images, folder: Path) -> Images:
    """Copies whose background is one flat grey: all but the largest warm-coloured object."""
    folder.mkdir(parents=True)
    copies = []
    for number, image in enumerate(images):
        with Image.open(image.path) as opened:
            pixels = np.asarray(opened.convert("RGB")).astype(int)
        warm = ndimage.median_filter(pixels[..., 0] - pixels[..., 2], 5) > 25
        closed = ndimage.binary_closing(np.pad(warm, 40), iterations=25)[40:-40, 40:-40]
        regions, _ = ndimage.label(closed)
        sizes = np.bincount(regions.ravel())
        sizes[0] = 0
        part = ndimage.binary_fill_holes(regions == sizes.argmax())
        shown = np.where(part[..., None], pixels, 128).astype(np.uint8)
        path = folder / f"{number}.png"
        Image.fromarray(shown).save(path)
        copies.append(replace(image, path=path))
    return copies


def folds_of(images: Images, count: int, seed: int) -> list[tuple[Images, Images]]:
    """Stratified (training, test) pairs."""
    random = np.random.default_rng(seed)
    number = np.zeros(len(images), dtype=int)
    truth = np.array([image.is_anomalous for image in images])
    for value in (False, True):
        members = np.nonzero(truth == value)[0]
        number[random.permutation(members)] = np.arange(len(members)) % count
    return [
        (
            [image for image, n in zip(images, number, strict=True) if n != fold],
            [image for image, n in zip(images, number, strict=True) if n == fold],
        )
        for fold in range(count)
    ]


def cross_tested(images: Images, work: Path, *, count: int = 5, seed: int = 1) -> dict[str, Any]:
    """Every image judged by a model of the other folds: the whole engine inside each fold."""
    truth: list[bool] = []
    probability: list[float] = []
    evaluator = Evaluator()
    scores = []
    for number, (training, test) in enumerate(folds_of(images, count, seed)):
        folder = work / f"fold{number}"
        outcome = train(training, test, folder, options=TrainingOptions(seed=seed))
        fold = [e.confidence if e.is_anomalous else 1 - e.confidence for e in outcome.evaluated]
        truth += [e.is_anomalous_truth for e in outcome.evaluated]
        probability += fold
        for one, likely in zip(outcome.evaluated, fold, strict=True):
            evaluator.add_verdict(one.is_anomalous_truth, one.is_anomalous, likely)
        scores.append(
            auroc(np.array([e.is_anomalous_truth for e in outcome.evaluated]), np.array(fold))
        )
    known, said = np.array(truth), np.array(probability)
    return {
        "images": len(images),
        "auroc_mean_of_folds": round(float(np.mean(scores)), 4),
        "auroc_pooled": round(auroc(known, said), 4),
        "f1": round(evaluator.result().f1 or 0.0, 4),
        "brier": round(metrics.brier(known, said), 4),
        "ece": round(metrics.expected_calibration_error(known, said), 4),
    }


def cookies(work: Path) -> dict[str, Any]:
    """Segmentation: as given, out of fold, from 8 + 8 images, and with the background blanked."""
    training = read_manifest(DATA / "cookies" / "train.manifest")
    test = read_manifest(DATA / "cookies" / "test.manifest")
    found = {"as_given": trained(training, test, work / "given")}
    found["out_of_fold"] = trained(training, [], work / "fold")
    overlaps = [
        trained(training, [], work / f"fold{seed}", seed)["iou"]["cracked"] for seed in OTHER_SEEDS
    ]
    overlaps.insert(0, found["out_of_fold"]["iou"]["cracked"])
    found["iou_of_three_seeds"] = {"mean": round(float(np.mean(overlaps)), 4), "each": overlaps}
    found["blanked"] = trained(blank(training, work / "b1"), blank(test, work / "b2"), work / "bm")
    blanked_test = blank(test, work / "b3")
    probability, _ = judge(work / "given", blanked_test)
    truth = np.array([image.is_anomalous for image in test])
    found["as_given_model_on_blanked"] = {"auroc": round(auroc(truth, probability), 4)}
    ious = []
    for seed in range(5):
        random = np.random.default_rng(seed)
        classes = [[i for i in training if i.is_anomalous == value] for value in (False, True)]
        picked = [[c[i] for i in random.permutation(len(c))] for c in classes]
        few, rest = picked[0][:8] + picked[1][:8], picked[0][8:] + picked[1][8:]
        ious.append(trained(few, rest, work / f"few{seed}")["iou"].get("cracked", 0.0))
    found["iou_from_8_normal_8_anomalous"] = {"mean": round(float(np.mean(ious)), 4), "each": ious}
    _, times = judge(work / "given", test)
    found["latency_cpu_ms"] = {
        "p50": round(float(np.median(times)), 1),
        "p95": round(float(np.quantile(times, 0.95)), 1),
    }
    labels = [replace(i, mask_path=None, mask_colors={}) for i in training]
    found["labels_only"] = trained(labels, test, work / "labels")
    return found


def aliens(work: Path) -> dict[str, Any]:
    """Labels only and normals only."""
    training = read_manifest(DATA / "aliens" / "train.manifest")
    test = read_manifest(DATA / "aliens" / "test.manifest")
    everything = training + test
    normal = [image for image in everything if not image.is_anomalous]
    anomalous = [image for image in everything if image.is_anomalous]
    found = {"train_test": trained(training, test, work / "labels")}
    found["five_folds"] = cross_tested(everything, work / "cv")
    halves = [
        trained(normal[part::2], normal[1 - part :: 2] + anomalous, work / f"normal{part}")
        for part in (0, 1)
    ]
    found["normals_only"] = {"auroc": round(float(np.mean([h["auroc"] for h in halves])), 4)}
    thirteen = trained(
        normal[:13] + anomalous[:13], normal[13:] + anomalous[13:], work / "thirteen"
    )
    found["thirteen_and_thirteen"] = thirteen
    _, times = judge(work / "labels", test)
    found["latency_cpu_ms"] = {"p50": round(float(np.median(times)), 1)}
    return found


def networks(work: Path) -> dict[str, Any]:
    """The same images without a trained network and with it (needs torch)."""
    cookies, training, test = (
        read_manifest(DATA / name)
        for name in ("cookies/train.manifest", "aliens/train.manifest", "aliens/test.manifest")
    )
    found: dict[str, Any] = {}
    for name, images, others in (("cookies_out_of_fold", cookies, []), ("aliens", training, test)):
        found[name] = {}
        for network in (False, True):
            key = "with" if network else "without"
            folder = work / name / key
            measured = trained(images, others, folder, network=network)
            _, times = judge(folder, images[:20])
            measured["latency_cpu_ms"] = round(float(np.median(times)), 1)
            found[name][key] = measured
            print(name, key, json.dumps(measured), flush=True)
    return found


def sizes(work: Path) -> dict[str, Any]:
    """Milliseconds per image against the image's size, for a classification model."""
    found = {}
    random = np.random.default_rng(0)
    for side in (64, 512, 2048, 4096):
        folder = work / str(side)
        folder.mkdir(parents=True)
        images = []
        for number in range(12):
            path = folder / f"{number}.jpg"
            small = random.integers(90, 120, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(small).resize((side, side)).save(path, quality=90)
            images.append(TrainingImage(path.name, path, is_anomalous=False))
        train(images, [], folder / "model", options=TrainingOptions())
        _, times = judge(folder / "model", images[:5])
        found[f"{side}x{side}"] = {"p50_cpu_ms": round(float(np.median(times)), 1)}
    return found


def folder_protocol(
    normal: Path, anomalous: Path, *, repeats: int, count: int, work: Path
) -> dict[str, Any]:
    """``count`` + ``count`` images to train and as many to test, labels only, ``repeats`` times."""
    found = []
    files = [
        sorted(p for p in folder.rglob("*") if p.suffix.lower() in {".png", ".jpg", ".jpeg"})
        for folder in (normal, anomalous)
    ]
    for seed in range(repeats):
        random = np.random.default_rng(seed)
        training: Images = []
        test: Images = []
        for paths, wrong in zip(files, (False, True), strict=True):
            take = min(count, len(paths) // 2)
            chosen = [paths[i] for i in random.permutation(len(paths))[: 2 * take]]
            images = [TrainingImage(str(p), p, wrong) for p in chosen]
            training += images[:take]
            test += images[take:]
        found.append(trained(training, test, work / f"repeat{seed}", seed))
        print(json.dumps(found[-1]), flush=True)
    return {
        "auroc": round(float(np.mean([f["auroc"] for f in found])), 4),
        "auroc_deviation": round(float(np.std([f["auroc"] for f in found])), 4),
        "f1": round(float(np.mean([f["f1"] for f in found])), 4),
        "brier": round(float(np.mean([f["brier"] for f in found])), 4),
        "training_seconds": float(np.median([f["training_seconds"] for f in found])),
    }


def keep(part: str, measured: dict[str, Any]) -> None:
    """Add one part's figures to the results file, with the machine and its load."""
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    machine = {
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "load_average": round(os.getloadavg()[0], 1),
    }
    results[part] = {**measured, "machine": machine}
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--folder", nargs=2, type=Path, metavar=("NORMAL", "ANOMALY"))
    parser.add_argument("--sets", type=Path, help="a folder of sets; see engine_sets.py")
    parser.add_argument("--table", type=Path, help="where the table of --sets is written")
    parser.add_argument(
        "--set", action="append", default=[], help="measure only this set of --sets"
    )
    parser.add_argument(
        "--protocol", action="append", default=[], help="measure only this row of each set"
    )
    parser.add_argument(
        "--anomalib",
        type=Path,
        metavar="PYTHON",
        help="measure PatchCore on --sets, too, with this interpreter that has anomalib",
    )
    parser.add_argument(
        "--no-backbone", action="store_true", help="measure --sets without the backbone"
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--count", type=int, default=30)
    parser.add_argument(
        "--network", action="store_true", help="compare only with and without a network"
    )
    parser.add_argument("--only", choices=("cookies", "aliens", "sizes"))
    options = parser.parse_args()
    if options.anomalib:
        check(options.anomalib)
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        if options.sets:
            rows = []
            for row in measure_sets(
                options.sets,
                seeds=options.repeats,
                count=options.count,
                work=work,
                only=options.set,
                protocols=options.protocol,
                anomalib=options.anomalib,
                options={"pretrained": not options.no_backbone},
            ):
                rows.append(row)
                print(json.dumps(row), flush=True)
                if options.table:
                    options.table.write_text(table(rows), encoding="utf-8")
            return
        if options.folder:
            result = folder_protocol(
                *options.folder, repeats=options.repeats, count=options.count, work=work
            )
            print(json.dumps(result, indent=1))
            return
        parts: dict[str, Measure] = {"cookies": cookies, "aliens": aliens, "sizes": sizes}
        if options.network:
            parts = {"network": networks}
        for part, measure in parts.items():
            if options.only in (None, part):
                measured = measure(work / part)
                print(part, json.dumps(measured, indent=1), flush=True)
                keep(part, measured)


if __name__ == "__main__":
    main()
