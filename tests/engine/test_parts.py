"""The engine's parts one by one."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from scipy import ndimage

from lfv.engine import learners
from lfv.engine.alignment import Aligner, fit_aligner, foreground
from lfv.engine.descriptors import describe
from lfv.engine.feature_model import FeatureSpec, build_feature_model
from lfv.engine.onnx_session import OnnxSession
from lfv.engine.pixel_head import PixelHead, PixelSample, classes_at, train_pixel_head
from lfv.engine.pixels import LEAST_OVERLAP, PixelData, class_offsets
from lfv.engine.positional import PositionalHead, fit_positional
from lfv.engine.refinement import (
    CHANNELS,
    Refiner,
    surroundings,
    with_surroundings,
)
from lfv.engine.training.checks import find_poor_overlaps
from lfv.engine.training.dataset import Dataset
from lfv.engine.training.grouping import Repeats, assign_folds, identity, near_duplicates, signature
from lfv.engine.training.plan import CELL_BUDGET, narrowest_width, pixel_view_of
from lfv.engine.types import TrainingImage
from lfv.engine.views import MAX_TILE_PIXELS, View, Viewer, view_for

SPEC = FeatureSpec(96, 64, levels=4, stride=4, color=True)


def features(pixels: np.ndarray) -> dict[str, np.ndarray]:
    maps = OnnxSession(build_feature_model(SPEC))(pixels)
    return dict(zip(SPEC.channels, maps, strict=True))


def test_the_graph_is_the_same_every_time() -> None:
    assert build_feature_model(SPEC) == build_feature_model(SPEC)


def test_flat_images_show_nothing() -> None:
    found = features(np.full((64, 96, 3), 90, dtype=np.uint8))
    for name, values in found.items():
        if "mean" not in name.split()[-1] or "gradient" in name:
            assert np.abs(values).max() < 0.06, name


def test_a_line_one_pixel_wide_survives_pooling() -> None:
    pixels = np.full((64, 96, 3), 90, dtype=np.uint8)
    pixels[31, 20:60] = 200
    found = features(pixels)
    assert found["L0 bright max"].max() > 0.3
    assert found["L0 bright max"][7, 5:15].min() > 0.3
    assert found["L0 bright max"][:4].max() < 0.01


def test_statistics_do_not_depend_on_position() -> None:
    first = np.full((64, 96, 3), 90, dtype=np.uint8)
    second = first.copy()
    first[16:24, 16:24] = 160
    second[32:40, 64:72] = 160
    one, other = (
        describe(np.stack(list(features(pixels).values()))).statistics for pixels in (first, second)
    )
    fine = [i for i, name in enumerate(SPEC.channels) if name.startswith(("L0", "L1"))]
    assert np.abs(one[fine] - other[fine]).max() < 0.002
    assert np.abs(one[fine]).max() > 0.3


def test_tiles_cover_the_image() -> None:
    view = view_for(4096, 3000, 2048, stride=4, levels=6, color=False)
    assert view.tile.width * view.tile.height <= MAX_TILE_PIXELS * 1.1
    assert view.full_width >= view.width
    assert View.from_json(view.to_json()) == view
    small = view_for(100, 70, 256, stride=4, levels=5, color=False)
    maps = Viewer(small)(np.zeros((70, 100, 3), dtype=np.uint8))
    assert maps.shape[1:] == small.grid == (24, 32)


def wedge(angle: float, dx: int, dy: int) -> np.ndarray:
    image = Image.new("RGB", (160, 120), (20, 20, 20))
    draw = ImageDraw.Draw(image)
    draw.polygon([(50, 40), (115, 52), (60, 90)], fill=(220, 200, 60))
    turned = image.rotate(angle, Image.Resampling.BILINEAR, fillcolor=(20, 20, 20))
    return np.roll(np.asarray(turned), (dy, dx), axis=(0, 1))


@pytest.mark.parametrize(
    ("angle", "dx", "dy"), [(0, 10, -6), (40, 0, 0), (170, 8, 5), (301, -9, 4)]
)
def test_alignment_undoes_turns_and_shifts(angle: float, dx: int, dy: int) -> None:
    aligner = Aligner(foreground(wedge(0, 0, 0)))
    moved = wedge(angle, dx, dy)
    before = np.abs(moved.astype(int) - wedge(0, 0, 0)).mean()
    after = np.abs(aligner(moved).astype(int) - wedge(0, 0, 0)).mean()
    assert after < 0.35 * before


def test_a_template_is_found_among_turned_parts() -> None:
    images = [wedge(angle, angle % 7, -angle % 5) for angle in range(0, 360, 30)]
    aligner = fit_aligner(images)
    again = Aligner.from_arrays(aligner.to_arrays("a"), "a")
    aligned = np.stack([again(image) for image in images]).astype(float)
    assert aligned.std(axis=0).mean() < 0.4 * np.stack(images).astype(float).std(axis=0).mean()


def test_poses_are_finer_than_the_template_and_tolerate_a_missing_piece() -> None:
    aligner = fit_aligner([wedge(angle, angle % 7, -angle % 5) for angle in range(0, 360, 30)])
    here, moved = wedge(25, 0, 0), wedge(25, 3, -2)
    broken = moved.copy()
    broken[:, :58] = (20, 20, 20)
    assert (broken != moved).any(axis=2).sum() > 50
    start = aligner.pose(here)
    for image in (moved, broken):
        pose = aligner.pose(image)
        assert pose.angle == pytest.approx(start.angle, abs=1.5)
        assert pose.dx - start.dx == pytest.approx(3 / 160, abs=1.5 / 160)
        assert pose.dy - start.dy == pytest.approx(-2 / 160, abs=1.5 / 160)


def lines(folder: Path, width: int, size: tuple[int, int] = (800, 600)) -> list[TrainingImage]:
    """Four images with a line of this width, as their masks show it."""
    images = []
    for number in range(4):
        mask = Image.new("RGB", size, "white")
        ImageDraw.Draw(mask).line((200, 100 + 90 * number, 600, 400), fill="#23A436", width=width)
        path = folder / f"{width}-{number}.png"
        mask.save(path)
        images.append(TrainingImage(path.name, path, True, path, {"#23A436": "scratch"}))
    return images


@pytest.mark.parametrize(("width", "cells"), [(40, (72, 96)), (9, (144, 192)), (4, (288, 384))])
def test_masks_are_learned_as_finely_as_they_are_drawn(
    tmp_path: Path, width: int, cells: tuple[int, int]
) -> None:
    images = tuple(lines(tmp_path, width))
    data = Dataset(images, 800, 600, (("dent", "#FF0000"), ("scratch", "#23A436")), color=True)
    assert narrowest_width(data) == pytest.approx(width, rel=0.35)
    assert pixel_view_of(data).grid == cells
    many = replace(data, images=images * 200)
    assert np.prod(pixel_view_of(many).grid) * 800 <= max(CELL_BUDGET, 72 * 96 * 800)


def test_masks_that_show_nothing_are_learned_coarsely(tmp_path: Path) -> None:
    blank = [replace(image, mask_colors={"#FF0000": "dent"}) for image in lines(tmp_path, 4)]
    data = Dataset(tuple(blank), 800, 600, (("dent", "#FF0000"),), color=True)
    assert narrowest_width(data) == np.inf
    assert pixel_view_of(data).grid == (72, 96)


def test_types_that_are_rarely_found_are_reported() -> None:
    labels = [
        {"Label": name, "NumberOfTestingImages": 7, "Metrics": {"IoU": overlap}}
        for name, overlap in (("crack", 0.71), ("scratch", 0.12))
    ]
    (told,) = find_poor_overlaps(labels)
    assert "of scratch is found (IoU 0.12 on 7 images)" in told


def repeats(images: list[np.ndarray], labels: np.ndarray) -> Repeats:
    return near_duplicates(
        np.stack([signature(image) for image in images]),
        np.array([identity(image) for image in images]),
        labels,
    )


def test_copies_share_a_group_however_many_there_are() -> None:
    random = np.random.default_rng(0)
    part = random.integers(0, 255, (40, 40, 3), dtype=np.uint8)
    normal = [
        np.clip(part.astype(int) + random.integers(-9, 9, part.shape), 0, 255).astype(np.uint8)
        for _ in range(8)
    ]
    others = [random.integers(0, 255, (40, 40, 3), dtype=np.uint8) for _ in range(24)]
    images = [*(image for image in normal for _ in range(3)), *others]
    labels = np.arange(48) >= 24
    found = repeats(images, labels)
    # Normal parts this similar show what normal looks like; they are not repeated shots.
    assert found.groups.tolist() == [*np.repeat(range(0, 24, 3), 3).tolist(), *range(24, 48)]
    assert found.alike == 0


def test_duplicates_share_a_group_and_groups_a_fold() -> None:
    random = np.random.default_rng(0)
    images = [random.integers(0, 255, (40, 40, 3), dtype=np.uint8) for _ in range(20)]
    images += [np.clip(image.astype(int) + 2, 0, 255).astype(np.uint8) for image in images[:6]]
    labels = np.arange(26) % 2 == 0
    groups = repeats(images, labels).groups
    assert (groups[20:] == groups[:6]).all()
    assert len(set(groups.tolist())) == 20
    folds = assign_folds(groups, labels, 5, random)
    assert (folds[20:] == folds[:6]).all()
    assert set(folds.tolist()) == {0, 1, 2, 3, 4}
    for fold in range(5):
        assert labels[folds == fold].any()
        assert not labels[folds == fold].all()


@pytest.mark.parametrize("kind", ["ridge", "lasso", "stumps"])
def test_learners_find_the_informative_values(kind: str) -> None:
    random = np.random.default_rng(3)
    truth = np.arange(80) % 2 == 0
    x = random.normal(0, 1, (160, 300)).astype(np.float32)
    x[:, :30] += np.tile(truth, 2)[:, None] * 1.5
    x[5, 100] = 1e6
    head: learners.Head
    if kind == "ridge":
        head = learners.fit_ridge(x[:80], truth, 1.0)
    elif kind == "lasso":
        head = learners.fit_lasso(x[:80], truth)
    else:
        head = learners.fit_stumps(x[:80], truth, random)
    scores = head(x[80:])
    assert (scores[truth].mean() - scores[~truth].mean()) / scores.std() > 0.8
    again = learners.head_from_arrays(head.to_arrays("h"), "h")
    assert np.allclose(again(x[80:]), scores)


def test_the_stack_never_inverts_an_expert() -> None:
    random = np.random.default_rng(0)
    truth = np.arange(60) % 2 == 0
    good = truth + random.normal(0, 0.4, 60)
    weights = learners.fit_stack(np.stack([good, -good, random.normal(0, 1, 60)], axis=1), truth)
    assert (weights >= 0).all()
    assert weights[0] > 3 * weights[1]


def test_each_position_has_its_own_normal_values() -> None:
    random = np.random.default_rng(0)
    base = random.normal(0, 1, (20, 8, 10))
    normal = (base + random.normal(0, 0.1, (25, 20, 8, 10))).astype(np.float32)
    head = fit_positional(normal[:20])
    odd = normal[20].copy()
    odd[:, 3:6, 4:7] = odd[:, 0:3, 0:3]
    usual, unusual = head.statistics(normal[21]), head.statistics(odd)
    assert (unusual[-2:] > usual[-2:] + np.log(2)).all()
    found = np.unravel_index(head.distances(head.residuals(head.reduce(odd))).argmax(), (8, 10))
    assert abs(found[0] - 4) <= 1
    assert abs(found[1] - 5) <= 1
    again = PositionalHead.from_arrays(head.to_arrays("p"), "p")
    assert again.statistics(odd) == pytest.approx(unusual, abs=2e-2)


def test_the_nearest_of_two_normal_variants_counts() -> None:
    random = np.random.default_rng(0)
    ways = random.normal(0, 1, (2, 20, 8, 10))
    several = np.tile(ways, (12, 1, 1, 1)) + random.normal(0, 0.1, (24, 20, 8, 10))
    head = fit_positional(several[:22].astype(np.float32))
    between = ways.mean(axis=0).astype(np.float32)
    usual, unusual = head.statistics(several[23].astype(np.float32)), head.statistics(between)
    distance, nearest = unusual[-2:] - usual[-2:]
    assert nearest > np.log(2)
    assert nearest > distance + np.log(2)


def test_the_second_pass_runs_the_same_split_over_graph_and_numpy() -> None:
    random = np.random.default_rng(0)
    channels = len(SPEC.channels)

    def layers(*sizes: int) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
        return tuple(
            (
                random.normal(0, 0.1, (fan_in, fan_out)).astype(np.float32),
                random.normal(0, 0.1, fan_out).astype(np.float32),
            )
            for fan_in, fan_out in pairwise(sizes)
        )

    first = PixelHead(layers(channels, 6, 3))
    second = Refiner(tuple(PixelHead(layers(channels + CHANNELS, hidden, 3)) for hidden in (8, 5)))
    pixels = random.integers(0, 255, (64, 96, 3), dtype=np.uint8)
    maps = OnnxSession(build_feature_model(SPEC))(pixels)
    joined = OnnxSession(build_feature_model(SPEC, first.layers, second.projection))(pixels)
    assert np.allclose(joined[:3], first(maps), atol=1e-4)
    inputs = with_surroundings(maps, first(maps))
    expected = (second.heads[0](inputs) + second.heads[1](inputs)) / 2
    assert np.allclose(second.from_features(maps, first(maps)), expected, atol=1e-4)
    stored = Refiner.from_arrays(second.to_arrays())
    assert np.allclose(stored(joined[3:], joined[:3]), expected, atol=1e-3)


def test_the_pixel_network_learns_shares() -> None:
    random = np.random.default_rng(0)
    share = np.repeat(np.linspace(0.05, 0.95, 10), 200).astype(np.float32)
    inputs = np.stack([share, random.standard_normal(2000)], axis=1).astype(np.float32)
    sample = PixelSample(inputs, np.stack([1 - share, share], axis=1), np.ones(2000, np.float32))
    head = train_pixel_head(sample, random=random, hidden=(64, 32), epochs=20)
    logits = head(inputs.T[:, None])[:, 0]
    found = 1 / (1 + np.exp(logits[0] - logits[1]))
    assert np.abs(found - share).max() < 0.12


def test_a_type_is_favoured_up_to_its_highest_overlap() -> None:
    shares = np.zeros((3, 1, 10), np.float16)
    shares[1, 0, :4], shares[2, 0, 4:8], shares[0, 0, 8:] = 1, 1, 1
    logits = np.full((3, 1, 10), -5, np.float32)
    logits[1, 0, :3] = logits[2, 0, 4:5] = 5  # three of four cells found, and one of four
    logits[0] = np.where(logits.max(axis=0) > 0, -5, 5)
    empty = PixelData(shares, None)
    known = PixelData(shares, shares)
    found = class_offsets([logits, logits], [known, empty])
    assert found == pytest.approx([0, -np.log(3 / 4), -np.log(LEAST_OVERLAP)])
    head = PixelHead(((np.zeros((CHANNELS + 2, 3), np.float32), np.zeros(3, np.float32)),))
    refiner = Refiner((head, head))
    features = np.zeros((2, 1, 10), np.float32)
    before = refiner.from_features(features, logits)
    after = refiner.with_offsets(found).from_features(features, logits)
    assert (after - before)[:, 0, 0] == pytest.approx(found)


def test_surroundings_distinguish_a_gap_from_the_ground() -> None:
    logits = np.zeros((2, 40, 40), dtype=np.float32)
    logits[0], logits[1] = 4, -4
    logits[:, :, 10:14] *= -1
    logits[:, :, 22:26] *= -1
    between, beside = surroundings(logits)[:, 20, 18], surroundings(logits)[:, 20, 36]
    assert between[1:5].max() > 0.5 > beside[1:5].max()


def test_blurs_of_surroundings_are_those_of_a_sliding_filter() -> None:
    logits = np.random.default_rng(3).normal(0, 3, (2, 24, 17)).astype(np.float32)
    anomaly = 1 / (1 + np.exp(logits[0] - logits[1]))
    found = surroundings(logits)
    first = ndimage.gaussian_filter(anomaly, 0.7)
    assert np.allclose(found[0], first, atol=1e-5)
    assert np.allclose(found[-1], ndimage.gaussian_filter(first, 20, truncate=2.0), atol=1e-5)


@pytest.mark.parametrize("size", [(64, 64), (68, 50), (576, 768), (101, 4096)])
@pytest.mark.parametrize("classes", [2, 3])
def test_outlines_are_drawn_as_bilinear_scaling_draws_them(
    size: tuple[int, int], classes: int
) -> None:
    logits = np.random.default_rng(4).normal(0, 3, (classes, 16, 12)).astype(np.float32)
    large = [
        np.asarray(Image.fromarray(plane).resize(size, Image.Resampling.BILINEAR))
        for plane in logits
    ]
    found = classes_at(logits, size)
    assert found.shape == (size[1], size[0])
    # Where two classes are equally likely, rounding decides.
    assert np.mean(found == np.argmax(large, axis=0)) > 0.9999


def test_experts_are_weighted_by_their_own_merit() -> None:
    random = np.random.default_rng(5)
    truth = np.arange(40) % 2 == 0
    good = np.where(truth, 1.0, -1.0) + random.normal(0, 0.5, 40)
    poor = random.normal(0, 1, (40, 6)) + np.where(truth, 0.3, -0.3)[:, None]
    weights = learners.fit_stack(np.column_stack([poor, good]), truth)
    assert weights[-1] > 0.5 * weights.sum()


def test_statistics_of_large_maps_are_those_of_all_their_values() -> None:
    maps = np.abs(np.random.default_rng(0).standard_normal((4, 90, 100))).astype(np.float32)
    maps[1] = 0  # nothing lies above its own quantile
    maps[2] = np.round(maps[2])
    flat = maps.reshape(4, -1)
    found = describe(maps).statistics.reshape(9, 4)
    rank = round((flat.shape[1] - 1) * 0.999)
    assert np.array_equal(found[7], np.sort(flat, axis=1)[:, rank])
    assert np.array_equal(found[8], flat.max(axis=1))
    assert found[0] == pytest.approx(flat.mean(axis=1), rel=1e-5)


def test_a_block_of_experts_has_its_prior_share_however_many_they_are() -> None:
    truth = np.arange(10) % 2 == 0
    column = np.where(truth, 1.0, -1.0) + np.random.default_rng(2).normal(0, 3, 10)
    blocks = np.array([learners.OWN] * 6 + [learners.DEEP, learners.DISTANCE])
    weights = learners.fit_stack(np.stack([column] * 8, axis=1), truth, blocks)
    shares = [weights[blocks == number].sum() / weights.sum() for number in range(3)]
    assert shares == pytest.approx(learners.BLOCK_SHARES, abs=0.12)


def test_aurocs_of_few_images_hardly_change_weights() -> None:
    def weights(count: int) -> np.ndarray:
        truth = np.arange(2 * count) >= count
        lucky = np.where(truth, 1.0, -1.0)
        unlucky = np.random.default_rng(0).permutation(lucky) * 0.1
        return learners.fit_stack(np.stack([lucky, unlucky], axis=1), truth)

    few, many = weights(5), weights(30)
    assert few[1] / few[0] > 3 * many[1] / many[0]
