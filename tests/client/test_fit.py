"""Fitting images of other sizes to the model's, in training and in inspection."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lfv.client.errors import TrainingDataInvalid
from lfv.client.sources import SourceReader
from lfv.client.staging import Staging, stage_dataset, stage_training
from lfv.formats import errors
from lfv.formats.fit import Fit, common_size, convert_as_recorded, fit_for
from lfv.formats.fit_mode import FitMode
from lfv.formats.images import check_header, check_image

SIZE = 96, 64
STAGING = Staging("parts", "staging/")


def picture(width: int, height: int, *, kind: str = "PNG", mode: str = "RGB") -> bytes:
    """A dark picture with a bright square in its middle, a quarter of the height wide."""
    image = Image.new("L", (width, height), 40)
    side = height // 4
    left, top = (width - side) // 2, (height - side) // 2
    image.paste(220, (left, top, left + side, top + side))
    if mode == "1":
        image = image.point(lambda value: 255 * (value > 130))
    out = io.BytesIO()
    image.convert(mode).save(out, kind)
    return out.getvalue()


def opened(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("L"))


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("mode", list(FitMode))
def test_an_image_gets_the_size_and_the_recorded_fit_reproduces_its_bytes(
    mode: FitMode, kind: str
) -> None:
    fit = Fit(mode, *SIZE)
    data = picture(300, 210, kind=kind)
    fitted, done = fit.image(data)
    info = check_image(fitted, expected=SIZE)
    assert done == f"{kind} of 300x210, {fit}"
    assert Fit.parse(done) == fit
    assert convert_as_recorded(data, done) == fitted
    assert info.format == "PNG"
    assert opened(fitted)[32, 48] > 200
    assert opened(fitted)[4, 4] < 60


def test_an_image_that_has_the_size_is_unchanged() -> None:
    data = picture(*SIZE, kind="JPEG")
    assert Fit(FitMode.CROP, *SIZE).image(data) == (data, None)
    assert convert_as_recorded(data, None) == data
    assert Fit.parse("TIFF") is None


def test_an_aspect_ratio_that_differs_too_much_is_refused_unless_a_mode_is_given() -> None:
    square = picture(128, 128)
    with pytest.raises(errors.ImageDimensionsMismatch, match=r"stretched by 50%.*--fit stretch"):
        Fit(FitMode.SCALE, *SIZE).image(square)
    assert check_image(Fit(FitMode.STRETCH, *SIZE).image(square)[0], expected=SIZE)
    assert check_image(Fit(FitMode.CROP, *SIZE).image(square)[0], expected=SIZE)
    tall = picture(100, 200)
    with pytest.raises(errors.ImageDimensionsMismatch, match=r"lose 67% of its area"):
        Fit(FitMode.CROP, *SIZE).image(tall)
    with pytest.raises(errors.ImageDimensionsMismatch, match=r"200%. .*`--fit stretch`\.$"):
        Fit(FitMode.SCALE, *SIZE).image(tall)


@pytest.mark.parametrize(
    ("other", "mode"),
    [((192, 132), FitMode.SCALE), ((128, 128), FitMode.CROP), ((100, 200), FitMode.STRETCH)],
)
def test_the_suggested_fit_is_accepted(
    tmp_path: Path, bucket: Path, other: tuple[int, int], mode: FitMode
) -> None:
    """Images of another size are reported once, with their number and an example."""
    for number in range(7):
        folder = tmp_path / "set" / ("good" if number % 2 else "bad")
        folder.mkdir(parents=True, exist_ok=True)
        size = SIZE if number < 4 else other
        (folder / f"{number}.png").write_bytes(picture(*size))
    source, reader = str(tmp_path / "set"), SourceReader(buckets={"parts": bucket})
    with pytest.raises(TrainingDataInvalid) as caught:
        stage_training(source, reader, STAGING)
    message = str(caught.value)
    assert message.startswith(f"3 lines of {source} cannot be used for training: line ")
    assert "(and 2 lines like it): " in message
    assert message.count(f"{other[0]}x{other[1]} pixels") == 1
    assert f"(`--fit {mode}` " in message
    assert fit_for([SIZE, other], SIZE) is mode
    assert stage_training(source, reader, STAGING, fit=mode)[0].fitted == 3


def test_cropping_keeps_the_middle_and_masks_follow() -> None:
    fit = Fit(FitMode.CROP, *SIZE)
    image, _ = fit.image(picture(128, 128))
    mask = fit.mask(picture(128, 128, mode="1"))
    assert ((opened(image) > 130) == (opened(mask) > 130)).mean() > 0.99
    assert (opened(image) > 130).sum() == pytest.approx((128 / 4 * 96 / 128) ** 2, rel=0.1)
    assert set(np.unique(opened(mask))) <= {0, 255}  # no colours are mixed
    assert fit.mask(mask) == mask


def test_palettes_are_mixed_as_colours_and_sixteen_bits_stay_sixteen() -> None:
    fit = Fit(FitMode.SCALE, *SIZE)
    palette, _ = fit.image(picture(192, 128, mode="P"))
    assert check_header(palette).mode == "RGB"
    out = io.BytesIO()
    Image.fromarray(np.full((128, 192), 3001, np.uint16)).save(out, "PNG")
    deep, _ = fit.image(out.getvalue())
    assert (check_header(deep).bits, np.asarray(Image.open(io.BytesIO(deep))).max()) == (16, 3001)


@pytest.mark.parametrize(
    ("sizes", "common"),
    [
        ([(96, 64)] * 3 + [(300, 200)] * 2, (96, 64)),
        ([(100, 90), (110, 80), (120, 70)], (110, 80)),
        ([(20, 30)], (64, 64)),
        ([(8000, 6000)], (4096, 4096)),
    ],
)
def test_the_common_size(sizes: list[tuple[int, int]], common: tuple[int, int]) -> None:
    assert common_size(sizes) == common


def test_training_images_and_masks_of_different_sizes_are_staged_at_one_size(
    tmp_path: Path, bucket: Path
) -> None:
    rows = []
    for number, (width, height) in enumerate([SIZE, SIZE, (192, 128), (150, 96)]):
        (tmp_path / f"{number}.png").write_bytes(picture(width, height))
        (tmp_path / f"{number}-mask.png").write_bytes(picture(width, height, mode="1"))
        row = {"source-ref": f"{number}.png", "anomaly-label": int(number > 1)}
        row["anomaly-label-metadata"] = {
            "class-name": "anomaly" if number > 1 else "normal",
            "type": "groundtruth/image-classification",
        }
        if number > 1:
            row["anomaly-mask-ref"] = f"{number}-mask.png"
            colors = {"0": {"class-name": "scratch", "hex-color": "#FFFFFF"}}
            row["anomaly-mask-ref-metadata"] = {
                "internal-color-map": colors,
                "type": "groundtruth/semantic-segmentation",
            }
        rows.append(json.dumps(row))
    source = tmp_path / "train.manifest"
    source.write_text("\n".join(rows))
    reader = SourceReader(buckets={"parts": bucket})
    with pytest.raises(TrainingDataInvalid, match="--fit scale"):
        stage_training(str(source), reader, STAGING)
    train, _ = stage_training(str(source), reader, STAGING, fit=FitMode.SCALE)
    assert (train.width, train.height, train.masks) == (*SIZE, 2)
    assert (train.fit, train.fitted) == ("scaled to 96x64", 2)
    lines = [json.loads(x) for x in (bucket / train.manifest.key).read_text().splitlines()]
    for line in lines[2:]:
        mask = bucket / line["anomaly-mask-ref"].removeprefix("s3://parts/")
        assert opened(mask.read_bytes()).shape == SIZE[::-1]
    # Separate test images get the size of the training images.
    test = stage_dataset(str(source), reader.with_fit(Fit.parse(str(train.fit))), STAGING)
    assert (test.width, test.height, test.fit) == (*SIZE, train.fit)
