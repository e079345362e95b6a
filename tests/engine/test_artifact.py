"""A model folder is loaded unchanged, or refused."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lfv.engine import (
    ArtifactError,
    Predictor,
    TrainingImage,
    artifact,
    train,
)


@pytest.fixture(scope="module")
def trained(
    make_plates: Callable[..., list[TrainingImage]], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("artifact") / "model"
    train(make_plates(12, 0), [], folder)
    return folder


@pytest.fixture
def model(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "moved elsewhere"))


def listed(model: Path) -> dict[str, dict[str, object]]:
    files: dict[str, dict[str, object]] = json.loads((model / "manifest.json").read_text())["files"]
    return files


def rewrite(model: Path, **changes: object) -> None:
    manifest = json.loads((model / "manifest.json").read_text())
    (model / "manifest.json").write_text(json.dumps({**manifest, **changes}))


def test_a_model_can_be_moved(model: Path) -> None:
    assert Predictor.load(model).width == 96
    backbone = (model / "backbone.onnx").stat().st_size
    assert backbone < 4_000_000
    assert artifact.size_bytes(model) - backbone < 5_000_000


def test_every_file_is_checked(model: Path) -> None:
    for name in listed(model):
        whole = (model / name).read_bytes()
        for damaged in (
            whole[:-1],
            bytes([whole[0] ^ 1]) + whole[1:],
            whole[:-5] + bytes([whole[-5] ^ 8]) + whole[-4:],
        ):
            (model / name).write_bytes(damaged)
            with pytest.raises(ArtifactError, match=name):
                Predictor.load(model)
        (model / name).unlink()
        with pytest.raises(ArtifactError, match=f"{name} is missing"):
            Predictor.load(model)
        (model / name).write_bytes(whole)
    Predictor.load(model)


def test_other_versions_and_unknown_files(model: Path, tmp_path: Path) -> None:
    rewrite(model, version=99)
    with pytest.raises(ArtifactError, match="version 99"):
        Predictor.load(model)
    rewrite(model, version=1, format="something else")
    with pytest.raises(ArtifactError, match="no model of this engine"):
        Predictor.load(model)
    for body in (b"", b"[]", b"{", b"\xff\xfe"):
        (model / "manifest.json").write_bytes(body)
        with pytest.raises(ArtifactError):
            Predictor.load(model)
    with pytest.raises(ArtifactError, match="missing"):
        Predictor.load(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "name", ["../secret.json", "/etc/hostname.json", "a/b.json", "..\\up.json", "run.py", ""]
)
def test_no_path_leaves_the_folder(model: Path, name: str) -> None:
    files = listed(model)
    rewrite(model, files={**files, name: files["model.json"]})
    with pytest.raises(ArtifactError, match="names an invalid file"):
        Predictor.load(model)


def test_links_are_not_followed(model: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside.json"
    shutil.move(model / "model.json", outside)
    (model / "model.json").symlink_to(outside)
    with pytest.raises(ArtifactError, match="not a plain file"):
        Predictor.load(model)


def forge(model: Path, name: str, body: bytes) -> None:
    """Replace a file together with its hash."""
    (model / name).write_bytes(body)
    files = listed(model)
    files[name] = {"bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}
    rewrite(model, files=files)


def test_nothing_is_unpickled(model: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "evil.npy", np.array([print], dtype=object), allow_pickle=True)
    for body in (pickle.dumps({"a": 1}), (tmp_path / "evil.npy").read_bytes()):
        forge(model, "arrays.npz", body)
        with pytest.raises(ArtifactError):
            Predictor.load(model)


def test_invalid_content_with_right_hashes_is_refused(model: Path) -> None:
    whole = json.loads((model / "model.json").read_text())
    for changed in (
        {},
        {**whole, "backbone": None},
        {**whole, "ensemble": {"experts": []}},
        {**whole, "views": {"other": {}}},
        {**whole, "calibration": {"slope": "x"}},
        {**whole, "height": float("inf")},
        {**whole, "threshold": -1},
        {**whole, "calibration": {**whole["calibration"], "a": float("nan")}},
        {**whole, "calibration": {**whole["calibration"], "limit": 1e308}},
    ):
        forge(model, "model.json", json.dumps(changed).encode())
        with pytest.raises(ArtifactError):
            Predictor.load(model)
    forge(model, "model.json", json.dumps(whole).encode())
    forge(model, "backbone.onnx", b"not a graph")
    with pytest.raises(ArtifactError):
        Predictor.load(model)


def changed(body: bytes, change: Callable[[np.ndarray], np.ndarray]) -> bytes:
    """The weights with every array changed."""
    with np.load(io.BytesIO(body)) as arrays:
        found = {name: change(arrays[name]) for name in arrays.files}
    buffer = io.BytesIO()
    np.savez(buffer, **found)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "change",
    [
        lambda array: array * np.nan,
        lambda array: array.astype("U8"),
        lambda array: array.ravel()[:1],
        lambda array: array[None],
    ],
    ids=["not numbers", "text", "cut off", "of another shape"],
)
def test_weights_that_produce_no_answer_are_refused(
    model: Path, change: Callable[[np.ndarray], np.ndarray]
) -> None:
    forge(model, "arrays.npz", changed((model / "arrays.npz").read_bytes(), change))
    with pytest.raises(ArtifactError):
        Predictor.load(model)


def test_weights_that_cannot_be_unpacked_are_refused(model: Path) -> None:
    whole = (model / "arrays.npz").read_bytes()
    array = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        array, {"descr": "<f4", "fortran_order": False, "shape": (10**10,)}
    )
    huge = io.BytesIO()
    with zipfile.ZipFile(huge, "w") as archive:
        archive.writestr("head.npy", array.getvalue())
    method = whole.index(b"PK\x01\x02") + 10
    strange = whole[:method] + b"\x61\x00" + whole[method + 2 :]
    locked = whole[: method - 2] + b"\x01\x00" + whole[method:]
    for body in (huge.getvalue(), strange, locked):
        forge(model, "arrays.npz", body)
        with pytest.raises(ArtifactError):
            Predictor.load(model)
